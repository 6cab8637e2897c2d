"""Parses quantities as users write them: byte sizes (`2GiB`) and durations (`200ms`)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

_BYTES = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_SECONDS = {"us": 1e-6, "ms": 1e-3, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h|d|w)")

_MOST: Final = 2**63
"""Sizes, and times in nanoseconds, are signed 64-bit numbers in SQLite and elsewhere."""
_MOST_SECONDS: Final = _MOST / 1e9


def parse_byte_size(value: Any) -> int:
    """Parse bytes from `1048576`, `"512KiB"`, `"2GiB"`, `"1.5MB"`.

    Raises:
        ValueError: the value is not a size of at least 0 bytes.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST:
        return value
    if isinstance(value, str) and (match := _QUANTITY.fullmatch(value)):
        unit = _BYTES.get(match[2].upper())
        if unit is not None and (size := float(match[1]) * unit) < _MOST:
            return int(size)
    raise ValueError(f"not a byte size: {value!r}; write a number of bytes or for example 512KiB, 2GiB")


def parse_duration(value: Any) -> float:
    """Parse seconds from `5`, `0.2`, `"200ms"`, `"5m"`, `"1h30m"`.

    Raises:
        ValueError: the value is not a duration of at least 0 s.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST_SECONDS:
        return float(value)
    if isinstance(value, str):
        seconds = _seconds(value.strip())
        if seconds is not None and seconds < _MOST_SECONDS:
            return seconds
    raise ValueError(f"not a duration: {value!r}; write a number of seconds or for example 200ms, 5m, 1h30m")


def _seconds(text: str) -> float | None:
    if (match := _QUANTITY.fullmatch(text)) and match[2] in _SECONDS:
        return float(match[1]) * _SECONDS[match[2]]
    parts = _DURATION_PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return None


_SIZE_TEXT: Final = r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtT]([iI]?[bB])?|[bB])?\s*$"
_DURATION_TEXT: Final = r"^\s*([0-9]+(\.[0-9]+)?\s*(us|ms|s|m|h|d|w)?|([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d|w))+)\s*$"
"""Regular expression for what the parser accepts, used by editors."""

ByteSize = Annotated[
    int,
    BeforeValidator(parse_byte_size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE_TEXT, "examples": ["512KiB", "2GiB"]}]}
    ),
]
"""A field of bytes: an int in Python, `2GiB` in YAML."""

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _DURATION_TEXT, "examples": ["200ms", "5m"]}]}
    ),
]
"""A field of time: float seconds in Python, `200ms` in YAML."""
