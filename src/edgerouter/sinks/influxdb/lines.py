"""InfluxDB's line protocol: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_AMBIGUOUS: Final = re.compile(r"[\x00-\x1f\x7f]|\\(?=[\\,= ]|\Z)|%(?=[0-9A-Fa-f]{2})")
"""Parts of a name that not every InfluxDB reads back: control characters, and a backslash at the end or before an escaped character
(version 2 reads two backslashes as two, version 3 as one, and then takes the blank after them for the end of the name). They are
percent-encoded, and with them anything that looks percent-encoded, so that different names stay different."""
_WHOLE: Final = re.compile(r"[-+]?\d+")
_EXACT: Final = 2**53
"""Largest whole number up to which a 64-bit float is exact."""
_LARGEST: Final = 2**63 - 1
_OUTER_BLANKS: Final = re.compile(r"\A +|(?<!\\) +\Z")
_NUMBER: Final = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?\d+[iu]")
_BOOLEANS: Final = {"t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"}
_TAG: Final = re.compile(r"((?:[^\\,=]|\\.)+)=((?:[^\\,=]|\\.)*)", re.DOTALL)
_FIELD: Final = re.compile(r'((?:[^\\,=]|\\.)+)=("(?:[^"\\]|\\.)*"|[^,"]*)', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([,= ])")


def line(measurement: str, tags: Mapping[str, str], fields: Mapping[str, str], time: int) -> bytes:
    """Return one line, without a trailing line break.

    Args:
        measurement: name of the measurement.
        tags: by name; empty ones are left out.
        fields: by name, each formatted by `field` or `raw_fields`.
        time: nanoseconds since 1970.

    Raises:
        ValueError: it has no measurement or no field.
    """
    if not measurement:
        raise ValueError("the point has no measurement")
    if not fields:
        raise ValueError("the point has no fields")
    escaped = _AMBIGUOUS.sub(_encode, measurement).replace(",", "\\,").replace(" ", "\\ ")
    if escaped[0] == "#":
        raise ValueError("a measurement that begins with # would be read as a comment")
    # InfluxDB ingests sorted tags faster
    for key, value in sorted(tags.items()):
        if text := _escape(value):
            escaped += f",{_escape(key)}={text}"
    return f"{escaped} {','.join(f'{_escape(key)}={value}' for key, value in fields.items())} {time}".encode()


def field(value: str | float | bool) -> str:
    """Return a field's value in line protocol.

    A number is a float, because InfluxDB refuses a float where an integer came first; a whole number beyond 2^53, which a float
    may not represent exactly, is an integer.

    Raises:
        ValueError: a whole number beyond 64 bits.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _whole(value) if isinstance(value, int) else repr(value)


def _whole(value: int) -> str:
    if -_EXACT <= value <= _EXACT:
        return str(value)
    if not -_LARGEST - 1 <= value <= _LARGEST:
        raise ValueError("a whole number does not fit into 64 bits")
    return f"{value}i"


def raw_tags(text: str) -> dict[str, str]:
    """Parse tags of line protocol, `k=v,k=v`; unescaped blanks are accepted, and blanks around a value are ignored.

    Raises:
        ValueError: the text does not have this form.
    """
    return {
        _ESCAPED.sub(r"\1", key.strip()): _ESCAPED.sub(r"\1", _OUTER_BLANKS.sub("", value))
        for key, value in _split(text, _TAG, "tags")
    }


def raw_fields(text: str) -> dict[str, str]:
    """Parse fields of line protocol, `f=1.5,g="text",h=3i`.

    Raises:
        ValueError: the text does not have this form.
    """
    found = {}
    for key, raw in _split(text, _FIELD, "values"):
        value = raw if raw.startswith('"') else raw.strip()
        if not (value.startswith('"') or value in _BOOLEANS or _NUMBER.fullmatch(value)):
            raise ValueError("values holds something that is not a number, a boolean or a quoted text")
        # without a suffix InfluxDB reads a float, and would round silently
        found[_ESCAPED.sub(r"\1", key.strip())] = _whole(int(value)) if _WHOLE.fullmatch(value) else value
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


def _encode(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


def _escape(text: str) -> str:
    return _AMBIGUOUS.sub(_encode, text).replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")
