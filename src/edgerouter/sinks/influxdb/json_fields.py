"""JSON payloads as fields of a point, within bounds: the name of a nested field repeats the names of all objects around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from edgerouter.sinks.influxdb.lines import field

MOST_VALUES: Final = 50_000
"""Members and items of a JSON payload, about; to decode more would hold up the event loop."""
MOST_FIELDS: Final = 5_000
"""Fields of one point."""
MOST_DEPTH: Final = 32
"""Objects within objects whose members become fields."""
MOST_NAMES: Final = 1024 * 1024
"""Characters of all names that one point's fields and the objects around them have."""

_decode = msgspec.json.Decoder().decode
_CONTAINER: Final = (b"{", b"[")


class OutOfBounds(ValueError):
    """The payload would make a point out of all proportion."""


def decode(payload: bytes) -> Any:
    """Decode a JSON payload.

    Raises:
        OutOfBounds: it holds more than `MOST_VALUES`.
        ValueError: it is not JSON.
    """
    if len(payload) > MOST_VALUES and payload.lstrip().startswith(_CONTAINER):
        # counts what stands in texts, too, and is a hundred times faster than decoding
        values = payload.count(b",") + payload.count(b"{") + payload.count(b"[")
        if values > MOST_VALUES:
            raise OutOfBounds(f"the payload holds more than {MOST_VALUES} values")
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("the payload is not JSON") from None


def scalars(members: Mapping[str, Any]) -> dict[str, str]:
    """Return the numbers, booleans and texts of an object as fields; those of inner objects as `outer.inner`.

    Raises:
        OutOfBounds: a bound of this module is exceeded.
        ValueError: a number fits no field.
    """
    fields: dict[str, str] = {}
    names = 0
    around: list[tuple[str, Iterator[tuple[str, Any]]]] = [("", iter(members.items()))]
    while around:
        prefix, rest = around[-1]
        for key, value in rest:
            if not key.strip():
                continue  # no name for a field
            inner = isinstance(value, Mapping)
            if not (inner or isinstance(value, bool | int | float) or (isinstance(value, str) and value)):
                continue
            names += len(prefix) + len(key)
            if names > MOST_NAMES:
                raise OutOfBounds(f"the names of the payload's fields have more than {MOST_NAMES} characters")
            if inner:
                if len(around) == MOST_DEPTH:
                    raise OutOfBounds(f"the payload has objects within objects, more than {MOST_DEPTH} deep")
                around.append((f"{prefix}{key}.", iter(value.items())))
                break
            fields[f"{prefix}{key}"] = field(value)
            if len(fields) > MOST_FIELDS:
                raise OutOfBounds(f"the payload has more than {MOST_FIELDS} fields")
        else:
            around.pop()
    return fields
