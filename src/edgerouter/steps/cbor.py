"""CBOR as JSON documents (RFC 8949), as EdgeX sends events with binary readings."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

from edgerouter.errors import BadInput

MOST_ITEMS: Final = 20_000
"""Data items of one document: more would hold the event loop for longer than a tenth of a second."""
MOST_NESTED: Final = 64
"""Levels of arrays, maps and tags."""
_INDEFINITE: Final = 31
_BREAK: Final = object()
_SIMPLE: Final = {20: False, 21: True, 22: None, 23: None}
_FLOATS: Final = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}
_LENGTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
"""Bytes of an argument behind the initial byte."""


def is_map(payload: bytes) -> bool:
    """Return True for what begins as a map does; no text in UTF-8 does."""
    return payload[:1] >= b"\xa0" and payload[:1] <= b"\xbf"


def decode(payload: bytes) -> Any:
    """Return the document; byte strings become texts in base64, as in the JSON of Go, and tags are left out.

    Raises:
        BadInput: it is incomplete, has more than `MOST_ITEMS` items or `MOST_NESTED` levels, or holds what JSON has not.
    """
    reader = _Reader(payload)
    document = reader.item(0)
    if reader.at != len(payload) or document is _BREAK:
        raise _unfit("it does not end where it should")
    return document


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._data = data
        self._items = 0
        self._of_kind: tuple[Callable[[int, int], Any], ...] = (
            lambda argument, _: argument,
            lambda argument, _: -1 - argument,
            lambda argument, depth: b64encode(self._string(argument, 2, depth)).decode(),
            self._text,
            self._array,
            self._map,
            lambda _, depth: self.item(depth),
        )

    def item(self, depth: int) -> Any:
        kind, argument, length = self._head()
        if kind == 7:
            return self._simple(argument, length)
        if depth > MOST_NESTED:
            raise _unfit(f"it has more than {MOST_NESTED} levels")
        if argument < 0 and kind in (0, 1, 6):
            raise _unfit("a number has no length")
        return self._of_kind[kind](argument, depth + 1)

    def _head(self) -> tuple[int, int, int]:
        """Return the kind of the next item, its argument, -1 for an indefinite length, and the five bits that said its size."""
        self._items += 1
        if self._items > MOST_ITEMS:
            raise BadInput("too large", f"it has more than {MOST_ITEMS} items")
        first = self._take(1)[0]
        kind, info = first >> 5, first & 31
        if info < 24:
            return kind, info, info
        if info == _INDEFINITE:
            return kind, -1, info
        if info not in _LENGTHS:
            raise _unfit("an item has a length that is not defined")
        return kind, int.from_bytes(self._take(_LENGTHS[info])), info

    def _take(self, count: int) -> bytes:
        taken = self._data[self.at : self.at + count]
        if len(taken) < count:
            raise _unfit("it is cut off")
        self.at += count
        return taken

    def _string(self, length: int, kind: int, depth: int) -> bytes:
        if length >= 0:
            return self._take(length)
        pieces: list[bytes] = []
        while True:
            found, length, _ = self._head()
            if (found, length) == (7, -1):
                return b"".join(pieces)
            if found != kind or length < 0 or depth > MOST_NESTED:
                raise _unfit("a string consists of other items")
            pieces.append(self._take(length))

    def _text(self, length: int, depth: int) -> str:
        try:
            return self._string(length, 3, depth).decode()
        except UnicodeDecodeError:
            raise _unfit("a text is not UTF-8") from None

    def _array(self, length: int, depth: int) -> list[Any]:
        found: list[Any] = []
        while length < 0 or len(found) < length:
            value = self.item(depth)
            if value is _BREAK:
                self._check_break(length)
                break
            found.append(value)
        return found

    def _map(self, length: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        left = length
        while left:
            left -= 1
            name = self.item(depth)
            if name is _BREAK:
                self._check_break(length)
                break
            if name.__class__ is not str:
                raise _unfit("a name is not a text")
            found[name] = value = self.item(depth)
            if value is _BREAK:
                raise _unfit("a name has no value")
        return found

    def _simple(self, argument: int, info: int) -> Any:
        if info == _INDEFINITE:
            return _BREAK
        if info in _FLOATS:
            form, size = _FLOATS[info]
            (number,) = struct.unpack(form, argument.to_bytes(size))
            if not isfinite(number):
                raise _unfit("a number is not finite")
            return number
        if argument not in _SIMPLE:
            raise _unfit("a simple value is not defined")
        return _SIMPLE[argument]

    def _check_break(self, length: int) -> None:
        if length >= 0:
            raise _unfit("a list ends before its length")


def _unfit(reason: str) -> BadInput:
    return BadInput("not CBOR", reason)
