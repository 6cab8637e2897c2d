"""Decodes JSON payloads into fields of a point, within bounds: the name of a nested field repeats those of its parents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from edgerouter.sinks.influxdb.lines import field

MOST_VALUES: Final = 50_000
"""Most members and items of a JSON payload, approximately; decoding more would block the event loop."""
MOST_FIELDS: Final = 5_000
"""Most fields of one point."""
MOST_DEPTH: Final = 32
"""Deepest nesting of objects whose members become fields."""
MOST_NAMES: Final = 1024 * 1024
"""Most characters in the names of one point's fields and of the objects around them."""

_decode = msgspec.json.Decoder().decode
_CONTAINER: Final = (b"{", b"[")


class OutOfBounds(ValueError):
    """The payload would make a disproportionate point."""


def decode(payload: bytes) -> Any:
    """Decode a JSON payload.

    Raises:
        OutOfBounds: it holds more than `MOST_VALUES`.
        ValueError: it is not JSON.
    """
    if len(payload) > MOST_VALUES and payload.lstrip().startswith(_CONTAINER):
        # also counts characters inside texts, but is a hundred times faster than decoding
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
        ValueError: a number does not fit into any type of field.
    """
    fields: dict[str, str] = {}
    names = 0
    around: list[tuple[str, Iterator[tuple[str, Any]]]] = [("", iter(members.items()))]
    while around:
        prefix, rest = around[-1]
        for key, value in rest:
            if not key.strip():
                continue  # not usable as the name of a field
            inner = isinstance(value, Mapping)
            if not (inner or isinstance(value, bool | int | float) or (isinstance(value, str) and value)):
                continue
            names += len(prefix) + len(key)
            if names > MOST_NAMES:
                raise OutOfBounds(f"the names of the payload's fields exceed {MOST_NAMES} characters")
            if inner:
                if len(around) == MOST_DEPTH:
                    raise OutOfBounds(f"the payload nests objects more than {MOST_DEPTH} deep")
                around.append((f"{prefix}{key}.", iter(value.items())))
                break
            fields[f"{prefix}{key}"] = field(value)
            if len(fields) > MOST_FIELDS:
                raise OutOfBounds(f"the payload has more than {MOST_FIELDS} fields")
        else:
            around.pop()
    return fields
