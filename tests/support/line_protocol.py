"""Line protocol as InfluxDB's two parsers read it: they differ in the meaning of a backslash before another one.

Version 1 and 2 (Go): a character is escaped when a backslash precedes it, whatever precedes that.
Version 3 (Rust): a backslash escapes another one, too; a name cannot end in a backslash, nor hold a tab, a line break or a zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Version = Literal[2, 3]
Value = str | float | int | bool
_NUMBER = re.compile(r"[-+]?\d+i|[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|true|false")


class NotLineProtocol(Exception):
    """The text is refused."""


@dataclass(frozen=True, slots=True)
class Line:
    """One point as it is read."""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, Value], ...]
    time: int


def read(text: str, version: Version) -> list[Line]:
    """Parse a whole body.

    Raises:
        NotLineProtocol: at the first error.
    """
    return list(_Reader(text, version).lines())


class _Reader:
    def __init__(self, text: str, version: Version) -> None:
        self._text = text
        self._version = version
        self._at = 0

    def lines(self) -> Iterator[Line]:
        while self._at < len(self._text):
            if self._text.startswith("#", self._at):
                raise NotLineProtocol("a comment")
            yield self._line()
            if self._at < len(self._text):
                self._expect("\n")

    def _line(self) -> Line:
        measurement = self._name(", ")
        tags = []
        while self._here() == ",":
            self._at += 1
            key = self._name("=, ")
            self._expect("=")
            tags.append((key, self._name(", =")))
        self._expect(" ")
        fields = [self._field()]
        while self._here() == ",":
            self._at += 1
            fields.append(self._field())
        self._expect(" ")
        stamp = re.compile(r"-?\d+").match(self._text, self._at)
        if stamp is None:
            raise NotLineProtocol("no time")
        self._at = stamp.end()
        return Line(measurement, tuple(tags), tuple(fields), int(stamp[0]))

    def _field(self) -> tuple[str, Value]:
        key = self._name("=, ")
        self._expect("=")
        if self._here() == '"':
            return key, self._quoted()
        number = _NUMBER.match(self._text, self._at)
        if number is None:
            raise NotLineProtocol("no value")
        self._at = number.end()
        word = number[0]
        if word in ("true", "false"):
            return key, word == "true"
        return key, int(word[:-1]) if word.endswith("i") else float(word)

    def _quoted(self) -> str:
        match = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL).match(self._text, self._at)
        if match is None:
            raise NotLineProtocol("an open quote")
        self._at = match.end()
        return re.sub(r'\\(["\\])', r"\1", match[1])

    def _name(self, ends: str) -> str:
        start = self._at
        text = self._name_of_version_2(ends) if self._version == 2 else self._name_of_version_3(ends)
        if self._at == start:
            raise NotLineProtocol("an empty name")
        return text

    def _name_of_version_2(self, ends: str) -> str:
        start = self._at
        while self._at < len(self._text):
            here = self._text[self._at]
            if here == "\n" or (here in ends and (self._at == start or self._text[self._at - 1] != "\\")):
                break
            self._at += 1
        return re.sub(r"\\([,= ])", r"\1", self._text[start : self._at])

    def _name_of_version_3(self, ends: str) -> str:
        read = ""
        while self._at < len(self._text):
            here, after = self._text[self._at], self._text[self._at + 1 : self._at + 2]
            if here == "\\" and after and after in "\\,= ":
                read += after
                self._at += 2
            elif here in "\t\0":
                raise NotLineProtocol("a character that no name has")
            elif here == "\n" or here in ends:
                break
            else:
                read += here
                self._at += 1
        if read.endswith("\\"):
            raise NotLineProtocol("a name ends in a backslash")
        return read

    def _here(self) -> str:
        return self._text[self._at : self._at + 1]

    def _expect(self, character: str) -> None:
        if self._here() != character:
            raise NotLineProtocol(f"{character!r} expected at {self._at}, not {self._here()!r}")
        self._at += 1
