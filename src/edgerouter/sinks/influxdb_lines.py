"""InfluxDB's line protocol: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
_NUMBER: Final = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?\d+[iu]")
_BOOLEANS: Final = {"t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"}
_TAG: Final = re.compile(r"((?:[^\\,=]|\\.)+)=((?:[^\\,=]|\\.)*)", re.DOTALL)
_FIELD: Final = re.compile(r'((?:[^\\,=]|\\.)+)=("(?:[^"\\]|\\.)*"|[^,"]*)', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([,= ])")


def line(measurement: str, tags: Mapping[str, str], fields: Mapping[str, str], time: int) -> bytes:
    """One line, without a line break at its end.

    Args:
        measurement: its name.
        tags: by name; empty ones are left out.
        fields: by name, each as `field` or `raw_fields` make it.
        time: nanoseconds since 1970.

    Raises:
        ValueError: it has no measurement or no field.
    """
    name = _plain(measurement)
    if not name:
        raise ValueError("the point has no measurement")
    if not fields:
        raise ValueError("the point has no fields")
    escaped = name.replace(",", "\\,").replace(" ", "\\ ")
    if escaped[0] == "#":
        raise ValueError("a measurement that begins with # would be taken for a comment")
    # sorted, because InfluxDB is faster then
    for key, value in sorted(tags.items()):
        if text := _escape(value):
            escaped += f",{_escape(key)}={text}"
    return f"{escaped} {','.join(f'{_escape(key)}={value}' for key, value in fields.items())} {time}".encode()


def field(value: str | float | bool) -> str:
    """A field's value. Every number is a float, because InfluxDB refuses a float where an integer came first."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def raw_tags(text: str) -> dict[str, str]:
    """Tags as line protocol has them, `k=v,k=v`; blanks may also stand without a backslash.

    Raises:
        ValueError: not of this form.
    """
    return {_ESCAPED.sub(r"\1", key.strip()): _ESCAPED.sub(r"\1", value) for key, value in _split(text, _TAG, "tags")}


def raw_fields(text: str) -> dict[str, str]:
    """Fields as line protocol has them, `f=1.5,g="text",h=3i`.

    Raises:
        ValueError: not of this form.
    """
    found = {}
    for key, raw in _split(text, _FIELD, "values"):
        value = raw if raw.startswith('"') else raw.strip()
        if not (value.startswith('"') or value in _BOOLEANS or _NUMBER.fullmatch(value)):
            raise ValueError("values holds something that is no number, no boolean, and no text in quotes")
        found[_ESCAPED.sub(r"\1", key.strip())] = value
    return found


def _split(text: str, one: re.Pattern[str], what: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = one.match(text, position)
        if match is None or (match.end() < len(text) and text[match.end()] != ","):
            raise ValueError(f"{what} is not of the form name=value,name=value")
        pairs.append((match[1], match[2]))
        position = match.end() + 1
    return pairs


def _plain(text: str) -> str:
    """Without what names and tags cannot have: control characters, and a backslash at the end, which would escape what follows."""
    return _CONTROL.sub(" ", text).rstrip("\\").strip()


def _escape(text: str) -> str:
    return _plain(text).replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")
