"""InfluxDB's write API with the strictness of its parser: line protocol, types of fields, tokens, organizations and buckets."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from edgerouter.testing import HttpSinkServer, Received

TOKEN, ORG, BUCKET = "influx-token-of-the-test==", "plant", "telemetry"
_INTEGER = re.compile(r"-?\d+i")
_UNSIGNED = re.compile(r"\d+u")
_FLOAT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_TRUE, _FALSE = ("t", "T", "true", "True", "TRUE"), ("f", "F", "false", "False", "FALSE")
_BOOLEANS = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}


class ParseError(Exception):
    """The line is not valid line protocol."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point as it is stored."""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    fields: dict[str, str | float | int | bool]
    time: int


def parse(line: str) -> Point:
    """Parse a line, character by character.

    Raises:
        ParseError: the line is invalid, with the reason.
    """
    measurement, position, end = _name(line, 0, ", ", ", ")
    if not measurement or measurement.startswith("#"):
        raise ParseError("missing measurement")
    tags: list[tuple[str, str]] = []
    while end == ",":
        key, position, end = _name(line, position, "=, ", ",= ")
        if end != "=":
            raise ParseError("missing tag value")
        value, position, end = _name(line, position, ",= ", ",= ")
        if end == "=" or not key or not value or key.startswith("_"):
            raise ParseError("missing tag key or value")
        tags.append((key, value))
    if len(dict(tags)) != len(tags):
        raise ParseError("duplicate tags")
    fields: dict[str, str | float | int | bool] = {}
    more = True
    while more:
        key, position, end = _name(line, position, "=, ", ",= ")
        if end != "=" or not key:
            raise ParseError("missing fields")
        fields[key], position = _value(line, position)
        more = line[position : position + 1] == ","
        position += 1
    stamp = line[position:]
    if line[position - 1 : position] not in (" ", "") or not re.fullmatch(r"\d+", stamp):
        raise ParseError("bad timestamp")
    return Point(measurement, tuple(sorted(tags)), fields, int(stamp))


def _name(line: str, position: int, ends: str, escapable: str) -> tuple[str, int, str]:
    text = ""
    while position < len(line):
        character = line[position]
        if character == "\\" and line[position + 1 : position + 2] and line[position + 1] in escapable:
            text += line[position + 1]
            position += 2
        elif character in ends:
            return text, position + 1, character
        else:
            text += character
            position += 1
    return text, position, ""


def _value(line: str, position: int) -> tuple[str | float | int | bool, int]:
    if line[position : position + 1] == '"':
        text = ""
        position += 1
        while position < len(line) and line[position] != '"':
            if line[position] == "\\" and line[position + 1 : position + 2] in ('"', "\\"):
                position += 1
            text += line[position]
            position += 1
        if position >= len(line):
            raise ParseError("unbalanced quotes")
        return text, position + 1
    end = position
    while end < len(line) and line[end] not in ", ":
        end += 1
    word = line[position:end]
    if word in _BOOLEANS:
        return _BOOLEANS[word], end
    if _INTEGER.fullmatch(word) or _UNSIGNED.fullmatch(word):
        return int(word[:-1]), end
    if _FLOAT.fullmatch(word):
        return float(word), end
    raise ParseError("invalid number")


def split_lines(body: str) -> list[str]:
    """Split into lines; a line break inside a quoted field does not end one."""
    lines, quoted, start = [], False, 0
    spaces, in_value = 0, False
    position = 0
    while position < len(body):
        character = body[position]
        if character == "\\":
            position += 1
        elif character == " " and not quoted:
            spaces += 1
        elif character == '"' and spaces == 1 and in_value:
            quoted = not quoted
        elif character in "=," and spaces == 1 and not quoted:
            in_value = character == "="
        elif character == "\n" and not quoted:
            lines.append(body[start:position])
            start, spaces, in_value = position + 1, 0, False
        position += 1
    return [*lines, body[start:]] if body[start:] else lines


class InfluxDbServer(HttpSinkServer):
    """One organization with one bucket. A point replaces one of the same series and time, as it does in InfluxDB."""

    decompresses = False

    def __init__(self) -> None:
        super().__init__()
        self.points: dict[tuple[str, tuple[tuple[str, str], ...], int], Point] = {}
        self.writes: list[int] = []
        """Lines of each request that was accepted as a whole."""
        self.types: dict[tuple[str, str], type] = {}
        self.token = TOKEN

    async def received(self) -> Sequence[Received]:
        return [
            Received(str(point.fields["raw"]).encode(), dict(point.tags).get("topic"), dict(point.tags).get("id"))
            for point in self.points.values()
            if "raw" in point.fields
        ]

    def carries_messages(self, request: web.BaseRequest) -> bool:
        return request.method == "POST" and bool(request.content_length)

    def broken(self) -> web.Response:
        return _error(500, "internal error", "something is broken")

    def throttled(self, seconds: float) -> web.Response:
        return _error(429, "too many requests", "rate limit", {"Retry-After": str(int(seconds))})

    def refused(self) -> web.Response:
        return _error(401, "unauthorized", "unauthorized access")

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Token {self.token}":
            return self.refused()
        if request.path != "/api/v2/write" or request.query.get("org") != ORG or request.query.get("bucket") != BUCKET:
            return _error(404, "not found", "organization or bucket not found")
        if request.query.get("precision") != "ns":
            return _error(400, "invalid", "this server wants nanoseconds")
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if not body.strip():
            return _error(400, "invalid", "writing requires points")
        try:
            points = [parse(line) for line in split_lines(body.decode())]
        except (ParseError, UnicodeDecodeError) as error:
            return _error(400, "invalid", f"unable to parse line 1: {error}")
        if any(self.rejected(str(point.fields.get("raw", "")).encode()) for point in points):
            return _error(400, "invalid", "partial write: errors encountered on line(s): line 1: not wanted")
        return self._store(points)

    def _store(self, points: Sequence[Point]) -> web.Response:
        for point in points:
            for name, value in point.fields.items():
                if self.types.setdefault((point.measurement, name), type(value)) is not type(value):
                    text = f"partial write: field type conflict: input field {name!r} on {point.measurement!r} dropped=1"
                    return _error(422, "unprocessable entity", text)
        for point in points:
            self.points[point.measurement, point.tags, point.time] = point
        self.writes.append(len(points))
        return web.Response(status=204)


def _error(status: int, code: str, text: str, headers: dict[str, str] | None = None) -> web.Response:
    body = json.dumps({"code": code, "message": text})
    return web.Response(status=status, text=body, content_type="application/json", headers=headers)
