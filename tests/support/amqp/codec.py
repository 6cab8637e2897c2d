"""The AMQP 1.0 type system (part 1 of the specification), decoded strictly: violations of the specification are errors."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class MalformedAmqp(Exception):
    """The peer sent bytes that are not AMQP 1.0."""


class Symbol(str):
    """A symbolic value, ASCII only."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since 1970-01-01 UTC."""


class UInt(int):
    """An unsigned 32-bit integer, for encoding."""


class ULong(int):
    """An unsigned 64-bit integer, for encoding."""


class UByte(int):
    """An unsigned 8-bit integer, for encoding."""


class UShort(int):
    """An unsigned 16-bit integer, for encoding."""


class Array(tuple[Any, ...]):
    """An array of elements of one type; only strings, symbols and ulongs can be encoded here."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A value with the descriptor of its meaning."""

    descriptor: Any
    value: Any


_FIXED: Mapping[int, tuple[struct.Struct, type[Any]]] = {
    0x50: (struct.Struct(">B"), int), 0x51: (struct.Struct(">b"), int),
    0x52: (struct.Struct(">B"), int), 0x53: (struct.Struct(">B"), int),
    0x54: (struct.Struct(">b"), int), 0x55: (struct.Struct(">b"), int),
    0x60: (struct.Struct(">H"), int), 0x61: (struct.Struct(">h"), int),
    0x70: (struct.Struct(">I"), int), 0x71: (struct.Struct(">i"), int),
    0x72: (struct.Struct(">f"), float), 0x82: (struct.Struct(">d"), float),
    0x80: (struct.Struct(">Q"), int), 0x81: (struct.Struct(">q"), int), 0x83: (struct.Struct(">q"), Timestamp),
}  # fmt: skip
_U8, _U32 = struct.Struct(">B"), struct.Struct(">I")
_EMPTY: Mapping[int, Any] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}


def decode(data: bytes | memoryview, at: int = 0) -> tuple[Any, int]:
    """Decode one value and return it with the offset after it.

    Raises:
        MalformedAmqp: not a value, or one that reaches beyond `data`.
    """
    view = memoryview(data)
    try:
        if view[at] == 0x00:
            descriptor, at = decode(view, at + 1)
            value, at = decode(view, at)
            return Described(descriptor, value), at
        return _decode_body(view[at], view, at + 1)
    except (IndexError, struct.error):
        raise MalformedAmqp("a value reaches beyond its end") from None


def decode_all(data: bytes | memoryview) -> list[Any]:
    """Decode every value of `data`, which must hold nothing else."""
    view, at, values = memoryview(data), 0, []
    while at < len(view):
        value, at = decode(view, at)
        values.append(value)
    return values


def _decode_body(code: int, view: memoryview, at: int) -> tuple[Any, int]:  # noqa: C901 (one branch a type)
    if code in _EMPTY:
        return _EMPTY[code], at
    if code in _FIXED:
        shape, kind = _FIXED[code]
        return kind(shape.unpack_from(view, at)[0]), at + shape.size
    if code == 0x56:
        if view[at] > 1:
            raise MalformedAmqp("a boolean that is neither 0 nor 1")
        return view[at] == 1, at + 1
    if code == 0x98:
        return uuid.UUID(bytes=_take(view, at, 16)), at + 16
    if code == 0x45:
        return [], at
    width = _U8 if code & 0xF0 in {0xA0, 0xC0, 0xE0} else _U32
    size = width.unpack_from(view, at)[0]
    at += width.size
    body, end = _take(view, at, size), at + size
    match code & 0x0F:
        case 0x00 if code in {0xA0, 0xB0}:
            return body, end
        case 0x01 if code in {0xA1, 0xB1}:
            return _text(body, "utf-8"), end
        case 0x03 if code in {0xA3, 0xB3}:
            return Symbol(_text(body, "ascii")), end
        case 0x00 if code in {0xC0, 0xD0}:
            return _compound(body, width), end
        case 0x01 if code in {0xC1, 0xD1}:
            return _map(_compound(body, width)), end
        case 0x00 if code in {0xE0, 0xF0}:
            return _array(body, width), end
    raise MalformedAmqp(f"no type has the constructor 0x{code:02x}")


def _take(view: memoryview, at: int, size: int) -> bytes:
    if at + size > len(view):
        raise MalformedAmqp(f"{size} bytes announced, {len(view) - at} there")
    return view[at : at + size].tobytes()


def _text(body: bytes, encoding: str) -> str:
    try:
        return body.decode(encoding)
    except UnicodeDecodeError:
        raise MalformedAmqp(f"text that is not {encoding}") from None


def _compound(body: bytes, width: struct.Struct) -> list[Any]:
    count = width.unpack_from(body)[0]
    values = decode_all(memoryview(body)[width.size :])
    if len(values) != count:
        raise MalformedAmqp(f"{count} elements announced, {len(values)} there")
    return values


def _map(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise MalformedAmqp("a map with a key and no value")
    pairs = dict(zip(values[::2], values[1::2], strict=True))
    if len(pairs) * 2 != len(values):
        raise MalformedAmqp("a map with the same key twice")
    return pairs


def _array(body: bytes, width: struct.Struct) -> Array:
    view, count, at, values = memoryview(body), width.unpack_from(body)[0], width.size, []
    if count and view[at] == 0x00:
        raise MalformedAmqp("arrays of described values are not used here")
    code, at = view[at], at + 1
    for _ in range(count):
        value, at = _decode_body(code, view, at)
        values.append(value)
    if at != len(view):
        raise MalformedAmqp("an array with bytes left over")
    return Array(values)


def encode(value: Any) -> bytes:  # noqa: C901, PLR0912 (one branch a type)
    """Encode one value; a plain int becomes a long, a plain str a string."""
    match value:
        case None:
            return b"\x40"
        case bool():
            return b"\x41" if value else b"\x42"
        case Described(descriptor, inner):
            return b"\x00" + encode(descriptor) + encode(inner)
        case UByte():
            return struct.pack(">BB", 0x50, value)
        case UShort():
            return struct.pack(">BH", 0x60, value)
        case UInt():
            return struct.pack(">BI", 0x70, value)
        case ULong():
            return struct.pack(">BB", 0x53, value) if value < 256 else struct.pack(">BQ", 0x80, value)
        case Timestamp():
            return struct.pack(">Bq", 0x83, value)
        case int():
            return struct.pack(">Bq", 0x81, value)
        case float():
            return struct.pack(">Bd", 0x82, value)
        case Symbol():
            return _variable(0xA3, value.encode("ascii"))
        case str():
            return _variable(0xA1, value.encode())
        case bytes():
            return _variable(0xA0, value)
        case uuid.UUID():
            return b"\x98" + value.bytes
        case Array():
            return _encode_array(value)
        case Mapping():
            return _encode_compound(0xC1, [part for pair in value.items() for part in pair])
        case list():
            return _encode_compound(0xC0, value)
    raise TypeError(f"no AMQP type for {type(value).__name__}")


def _variable(code: int, body: bytes) -> bytes:
    if len(body) < 256:
        return struct.pack(">BB", code, len(body)) + body
    return struct.pack(">BI", code + 0x10, len(body)) + body


def _encode_compound(code: int, values: Sequence[Any]) -> bytes:
    body = b"".join(map(encode, values))
    if len(body) < 255 and len(values) < 256:
        return struct.pack(">BBB", code, len(body) + 1, len(values)) + body
    return struct.pack(">BII", code + 0x10, len(body) + 4, len(values)) + body


def _encode_array(values: Array) -> bytes:
    if not values:
        return b"\x45"
    if isinstance(values[0], ULong):
        body = b"\x80" + b"".join(struct.pack(">Q", value) for value in values)
    else:
        code = b"\xb3" if isinstance(values[0], Symbol) else b"\xb1"
        body = code + b"".join(struct.pack(">I", len(text.encode())) + text.encode() for text in values)
    return struct.pack(">BII", 0xF0, len(body) + 4, len(values)) + body
