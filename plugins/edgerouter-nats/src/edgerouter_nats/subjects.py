"""Topics as subjects and back, without collisions: `plant/line 1/temp` is `plant.line%201.temp`.

The levels of a topic are the tokens of a subject. A character that no token holds, and the escape character, become the escape
character with two hexadecimal digits for each byte; an empty level becomes the escape character alone.

The inverse has to name subjects that no topic escapes to, such as `a/b` or `%41`: the level is the escape character, followed by
the token with what no level holds percent-encoded. `SUBJECT.token` maps such a level back, so each subject has one topic and each
topic one subject. A level that itself looks like one of these, without standing for such a token, is escaped as any other text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator

from edgerouter import MessageTemplate, Rejected, SinkContext, TemplateText, TopicCache

MOST_SUBJECT_BYTES: Final = 3500
"""The server closes the connection at a line of 4096 bytes (`max_control_line`), which also holds the address for the answer."""
_OUTSIDE_BRACES: Final = re.compile(r"(\{[^{}]*\})")
_NOT_IN_LEVELS: Final = re.compile(r"[/+#\x00]")
_QUOTED: Final = re.compile(r"[/+#\x00%]")
_QUOTE: Final = re.compile(r"%([0-9A-F]{2})")
_NOT_IN_TOKENS: Final = re.compile(r"[. \t\r\n]")
_ESCAPE: Final = re.compile(r"[0-9A-F]{2}")


@dataclass(frozen=True, slots=True)
class Alphabet:
    """Characters of a token, and the one that escapes all others."""

    escape: str
    forbidden: re.Pattern[str]
    reserved: str = ""
    """Characters that the first token of no message may begin with: such subjects lead to the server and to others' answers."""

    def subject(self, topic: str, *, reserved: bool = False) -> str:
        """Return the subject of a topic.

        Args:
            topic: its levels may be empty.
            reserved: True where the configuration has chosen how the subject begins.

        Raises:
            Rejected: the subject is too long, or not for messages.
        """
        try:
            if len(topic.encode()) > MOST_SUBJECT_BYTES:
                raise Rejected(f"the topic is longer than {MOST_SUBJECT_BYTES} bytes, which NATS takes no subject of")
        except UnicodeEncodeError:
            raise Rejected("the topic is not valid Unicode") from None
        first, *others = topic.split("/")
        subject = ".".join([self.token(first, first=not reserved), *[self.token(level) for level in others]])
        if len(subject.encode()) > MOST_SUBJECT_BYTES:
            raise Rejected(f"the subject of this topic is longer than {MOST_SUBJECT_BYTES} bytes")
        return subject

    def topic(self, subject: str) -> str:
        """Return the topic of a subject; never fails, and no two subjects have the same."""
        first, *others = subject.split(".")
        return "/".join([self.level(first, first=True), *[self.level(token) for token in others]])

    def token(self, level: str, *, first: bool = False) -> str:
        """Return the token of a level.

        Raises:
            Rejected: the level stands for a token that is not for messages.
        """
        token = self._stands_for(level, first)
        if token is None:
            return self._escaped_level(level, first)
        if first and token[0] in self.reserved:
            raise Rejected(f"a subject that begins with {token[0]} is not for messages")
        return token

    def level(self, token: str, *, first: bool = False) -> str:
        """Return the level of a token."""
        level = self._unescaped(token)
        if level is not None and self._escaped_level(level, first) == token and self._stands_for(level, first) is None:
            return level
        return self._foreign(token)

    def _escaped(self, text: str) -> str:
        return "".join([f"{self.escape}{byte:02X}" for byte in text.encode()])

    def _escaped_level(self, level: str, first: bool) -> str:
        token = self.forbidden.sub(lambda match: self._escaped(match[0]), level) or self.escape
        return self._escaped(token[0]) + token[1:] if first and token[0] in self.reserved else token

    def _unescaped(self, token: str) -> str | None:
        """Return the level that the token is the escape of; `None` if there is none."""
        if token == self.escape:
            return ""
        head, *parts = token.split(self.escape)
        if not all(_ESCAPE.match(part) for part in parts):
            return None
        data = head.encode() + b"".join([bytes.fromhex(part[:2]) + part[2:].encode() for part in parts])
        try:
            level = data.decode()
        except UnicodeDecodeError:
            return None
        return None if not level or _NOT_IN_LEVELS.search(level) else level

    def _foreign(self, token: str) -> str:
        return self.escape + _QUOTED.sub(lambda match: f"%{ord(match[0]):02X}", token)

    def _stands_for(self, level: str, first: bool) -> str | None:
        """Return the token that a level stands for, if it is one that no level escapes to."""
        if not level.startswith(self.escape) or len(level) == 1:
            return None
        token = _QUOTE.sub(lambda match: chr(int(match[1], 16)), level[1:])
        # the token is shorter than the level, so this ends
        if _NOT_IN_TOKENS.search(token) or token in {"*", ">"} or self._foreign(token) != level:
            return None
        return token if self.level(token, first=first) == level else None


SUBJECT: Final = Alphabet("%", re.compile(r"[\x00-\x20\x7f.*>%]"), "$_")
"""Subjects of core NATS and of streams."""
KEY: Final = Alphabet("=", re.compile(r"[^A-Za-z0-9_-]"))
"""Keys of a bucket, which hold no other characters (docs.nats.io, ADR-8)."""


class SubjectTemplate:
    """Subjects of messages, from a template such as `plant.{topic[1:]}`; remembered by topic.

    Args:
        text: the template; what its placeholders give is escaped, a `/` in it separates tokens as a dot does.
        names: what `{host}`, `{sink}` and `{spool}` stand for.
        alphabet: of subjects or of keys.
        prefix: written before each, unescaped.

    Raises:
        ValueError: the template is malformed, with the reason.
    """

    def __init__(self, text: str, names: SinkContext, alphabet: Alphabet = SUBJECT, prefix: str = "") -> None:
        reserved = bool(prefix) or text[:1] in alphabet.reserved

        def finish(topic: str) -> str:
            return prefix + alphabet.subject(topic, reserved=reserved)

        self._template = MessageTemplate(_as_topic(text), names, finish)
        self.of = self._template.of
        """Returns the subject of a message; raises `Rejected` where it has none."""


def _as_topic(text: str) -> str:
    """Write a template's own dots as slashes, since its placeholders give levels."""
    parts = _OUTSIDE_BRACES.split(text)
    return "".join([part if part.startswith("{") else part.replace(".", "/") for part in parts])


def check_template(text: str) -> str:
    """Return the template unchanged.

    Raises:
        ValueError: what it says itself is not a subject.
    """
    own = _OUTSIDE_BRACES.sub("x", text)
    if not own or any(each in own for each in " \t\r\n*>") or "" in own.split("."):
        raise ValueError(f"{text!r} is not a subject: tokens between dots, without spaces, `*` and `>`")
    return text


SubjectText = Annotated[TemplateText, AfterValidator(check_template)]
"""A configuration field that holds the template of a subject."""


class Topics(TopicCache[str, str]):
    """Topics of subjects, remembered.

    Args:
        alphabet: of subjects or of keys.
        prefix: begins every subject, and is left out of the topic.
    """

    def __init__(self, alphabet: Alphabet = SUBJECT, prefix: str = "") -> None:
        super().__init__(lambda subject: alphabet.topic(subject.removeprefix(prefix)))
