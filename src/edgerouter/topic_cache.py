"""Answers remembered by topic, bounded in bytes: a device chooses its topics, their number and their length."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

MOST_BYTES: Final = 4 * 1024**2
"""Bound of one cache: about 20,000 topics of 50 characters."""
MOST_ENTRY_BYTES: Final = 2048
"""An entry that costs more is made anew each time: few devices have long topics, and hostile ones have only long topics."""

_SLOT_BYTES: Final = 100
"""A dictionary's entry, about, with the room that it keeps for growing."""


_PLAIN: Final = frozenset({str, bytes, int, float, bool, type(None)})


class TopicCache(dict[KeyT, ValueT]):
    """Maps a topic, or another key that devices choose, to what was made from it.

    Look up with `cache[key]`; a known key costs one dictionary lookup in C. An unknown one calls `make`. When the entries together
    reach `most_bytes` the cache starts over: that is rare, and cheaper than keeping an order of use with each message.

    Args:
        make: makes the value for a key; an exception passes to the caller, and nothing is remembered.
        most_bytes: bound of all entries together.
        most_entry_bytes: costlier entries are not remembered.
        weigh: bytes that an entry holds in memory, if `weight` of key and value is wrong, as for values that entries share.
    """

    __slots__ = ("_bytes", "_make", "_most_bytes", "_most_entry_bytes", "_weigh")

    def __init__(
        self,
        make: Callable[[KeyT], ValueT],
        *,
        most_bytes: int = MOST_BYTES,
        most_entry_bytes: int = MOST_ENTRY_BYTES,
        weigh: Callable[[KeyT, ValueT], int] | None = None,
    ) -> None:
        super().__init__()
        self._make = make
        self._most_bytes = most_bytes
        self._most_entry_bytes = most_entry_bytes
        self._weigh = _weight_of_both if weigh is None else weigh
        self._bytes = 0

    def __missing__(self, key: KeyT) -> ValueT:
        value = self._make(key)
        cost = self._weigh(key, value) + _SLOT_BYTES
        if cost <= self._most_entry_bytes:
            if self._bytes + cost > self._most_bytes:
                self.clear()
                self._bytes = 0
            self[key] = value
            self._bytes += cost
        return value


def weight(value: Any) -> int:
    """Bytes that a value holds in memory; of tuples and structs with what they hold."""
    size = sys.getsizeof(value)
    if value.__class__ in _PLAIN:
        return size
    if isinstance(value, tuple):
        return size + sum(map(weight, value))
    fields: tuple[str, ...] = getattr(type(value), "__struct_fields__", ())
    return size + sum([weight(getattr(value, name)) for name in fields])


def key_weight(key: Any, _value: Any) -> int:
    """`weigh` for values that entries share, such as `True` or a name from the configuration."""
    return weight(key)


def _weight_of_both(key: Any, value: Any) -> int:
    return weight(key) + weight(value)
