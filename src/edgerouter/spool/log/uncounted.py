"""Messages that wait for a sink and are not counted by its present topic filters.

They are there after a change of filters, with `start: oldest`, and after damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.position import OPEN, Position
from edgerouter.topics import Matcher


class Counted(NamedTuple):
    """Sequences that have been looked at, and what the present filters change in their count."""

    start: int
    end: int
    gained: int
    """Messages that are wanted and were not."""
    lost: int
    """Messages that were wanted and are not."""


class Part(msgspec.Struct):
    """Sequences that were counted by the same filters."""

    filters: tuple[str, ...]
    """Empty: they were not counted at all."""
    ranges: Position = msgspec.field(default_factory=Position)


class Uncounted:
    """The parts, which do not overlap."""

    def __init__(self, parts: Iterable[tuple[tuple[str, ...], Position]] = ()) -> None:
        self._parts = [Part(filters, ranges) for filters, ranges in parts]

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts)

    def __contains__(self, sequence: int) -> bool:
        return any(sequence in part.ranges for part in self._parts)

    def count(self, start: int = 0, end: int = OPEN) -> int:
        """Return how many sequences of `[start, end)` are not counted."""
        return sum(part.ranges.count(start, end) for part in self._parts)

    def add(self, filters: tuple[str, ...], ranges: Iterable[tuple[int, int]]) -> None:
        """Add sequences that are counted by these filters and by no others."""
        part = next((part for part in self._parts if part.filters == filters), None)
        if part is None:
            part = Part(filters)
            self._parts.append(part)
        for start, end in ranges:
            part.ranges.add(start, end)
        self._tidy()

    def remove(self, start: int, end: int) -> None:
        """Take out `[start, end)`: counted, or no longer in the position."""
        for part in self._parts:
            part.ranges.remove(start, end)
        self._tidy()

    def forget_filters(self, filters: tuple[str, ...]) -> None:
        """Take out what was counted by these filters: they are the present ones again."""
        self._parts = [part for part in self._parts if set(part.filters) != set(filters) or not part.filters]

    def compare(self, chunk: Chunk, within: tuple[int, int], key: int, now: Callable[[str], bool]) -> list[Counted]:
        """Compare with the filters what is not counted of a chunk in memory.

        Args:
            chunk: holds the sequences.
            within: first sequence, and one above the last.
            key: the sink's.
            now: the sink's present filters.
        """
        found = []
        for part in self._parts:
            for start, end in part.ranges.intersect(*within):
                topics = [message.topic for message in chunk.messages[start - chunk.first : end - chunk.first]]
                if chunk.only:
                    # replayed dead letters: the filters do not matter, and they were counted as they were appended
                    gained, lost = (len(topics) if chunk.only == key and not part.filters else 0), 0
                else:
                    gained, lost = compare(topics, part.filters, now)
                found.append(Counted(start, end, gained, lost))
        return found

    def _tidy(self) -> None:
        self._parts = [part for part in self._parts if part.ranges]


def compare(topics: Sequence[str], before: tuple[str, ...], now: Callable[[str], bool]) -> tuple[int, int]:
    """Return how many messages are wanted by the filters of now and not by those before, and the other way round."""
    if not before:
        return sum(map(now, topics)), 0
    was = Matcher(before)
    changes = [now(topic) - was(topic) for topic in topics]
    return changes.count(1), changes.count(-1)
