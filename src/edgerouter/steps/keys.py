"""Keys by which steps keep what they know of earlier messages: the topic, or members of the document, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

from edgerouter.errors import BadInput
from edgerouter.item import Item
from edgerouter.steps.paths import MISSING, getter, parse_path
from edgerouter.topic_cache import weight

ValueT = TypeVar("ValueT")

_NUMBER_BYTES: Final = 182
"""A number in memory, with the entry of its key."""

TOPIC = "topic"
"""In `by`: the topic; anything else is the path of a member."""


def key_function(by: Sequence[str]) -> Callable[[Item], Hashable]:
    """Return the function that makes the key of an item; it raises `BadInput` where a member is missing.

    Args:
        by: `topic`, or paths of members.
    """
    if tuple(by) == (TOPIC,):
        return lambda item: item.message.topic
    readers = [(text, None if text == TOPIC else getter(parse_path(text))) for text in by]

    def key(item: Item) -> Hashable:
        found: list[Hashable] = []
        for text, read in readers:
            value = item.message.topic if read is None else read(item.document)
            if value is MISSING:
                raise BadInput("missing field", text)
            if isinstance(value, dict | list):
                raise BadInput("wrong type", f"{text} is not a text or number")
            # 1, 1.0 and true are equal as keys of a mapping; a truth value is kept apart
            found.append((value,) if isinstance(value, bool) else value)
        return tuple(found)

    return key


class Numbers(OrderedDict[Hashable, int]):
    """Numbers by key, read with `get`; when they together reach the bound, those that were set longest ago are forgotten.

    Args:
        most_bytes: of keys and numbers, about.
    """

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes
        self._bytes = 0

    def keep(self, key: Hashable, number: int) -> None:
        """Set a number, and forget others if it needs their room."""
        is_new = key not in self
        self[key] = number
        if is_new:
            self._bytes += weight(key) + _NUMBER_BYTES
            while self._bytes > self._most_bytes and len(self) > 1:
                forgotten, _ = self.popitem(last=False)
                self._bytes -= weight(forgotten) + _NUMBER_BYTES
        else:
            self.move_to_end(key)


class Known(Generic[ValueT]):
    """Values by key; when they together reach the bound, those that were used longest ago are forgotten.

    Args:
        most_bytes: of keys and values, about.
        value_bytes: of a value.
    """

    def __init__(self, most_bytes: int, value_bytes: Callable[[ValueT], int]) -> None:
        self._most_bytes = most_bytes
        self._value_bytes = value_bytes
        self._values: OrderedDict[Hashable, tuple[ValueT, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> ValueT | None:
        """Return the value, or `None`."""
        found = self._values.get(key)
        return None if found is None else found[0]

    def set(self, key: Hashable, value: ValueT) -> None:
        """Keep a value, and forget others if it needs their room."""
        before = self._values.pop(key, None)
        size = weight(key) + self._value_bytes(value) + 150
        self._bytes += size - (0 if before is None else before[1])
        self._values[key] = (value, size)
        while self._bytes > self._most_bytes and len(self._values) > 1:
            _, (_, freed) = self._values.popitem(last=False)
            self._bytes -= freed
