"""The position of a sink, its pending sequences: a sorted list of ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from operator import sub
from typing import Final, Self

import msgspec

OPEN: Final = 1 << 62
"""The end of a range that has no end: every sequence to come belongs to it."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[int]).decode


class Position:
    """A set of sequences, held as half-open ranges that neither touch nor overlap.

    Every operation is a bisection on two lists plus the ranges it touches, so it costs the same for one sequence and for a million.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self.add(start, end)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The position that `encode` wrote.

        Raises:
            ValueError: these bytes are not a position.
        """
        try:
            edges = list(accumulate(_decode(data)))
        except msgspec.DecodeError:
            raise ValueError("not a position") from None
        # every step but the first goes up, or the ranges would touch
        if len(edges) % 2 or any(after <= before for before, after in pairwise(edges)):
            raise ValueError("not a position")
        return cls._of(edges[0::2], edges[1::2])

    @classmethod
    def _of(cls, starts: list[int], ends: list[int]) -> Self:
        position = cls()
        position._starts, position._ends = starts, ends
        return position

    def encode(self) -> bytes:
        """A few bytes for each range: the distances between edges."""
        edges = [0] * (2 * len(self._starts))
        edges[0::2], edges[1::2] = self._starts, self._ends
        return _encode([*edges[:1], *map(sub, edges[1:], edges)])

    def copy(self) -> Self:
        """An independent equal position."""
        return self._of(self._starts.copy(), self._ends.copy())

    @property
    def first(self) -> int | None:
        """The lowest sequence."""
        return self._starts[0] if self._starts else None

    @property
    def end(self) -> int:
        """One above the highest sequence; 0 when there is none."""
        return self._ends[-1] if self._ends else 0

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __len__(self) -> int:
        """Return the number of ranges, not of sequences."""
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def __contains__(self, sequence: int) -> bool:
        place = bisect_right(self._starts, sequence) - 1
        return place >= 0 and sequence < self._ends[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Position) and self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Position({', '.join(f'{a}..' if b == OPEN else f'{a}..{b - 1}' for a, b in self)})"

    def intersect(self, start: int, end: int) -> list[tuple[int, int]]:
        """The ranges inside `[start, end)`, clipped to it."""
        low = bisect_right(self._ends, start)
        high = bisect_left(self._starts, end)
        if low >= high or start >= end:
            return []
        ranges = list(zip(self._starts[low:high], self._ends[low:high], strict=True))
        ranges[0] = (max(ranges[0][0], start), ranges[0][1])
        ranges[-1] = (ranges[-1][0], min(ranges[-1][1], end))
        return ranges

    def overlaps(self, start: int, end: int) -> bool:
        """Return True if any sequence of `[start, end)` is in it."""
        return start < end and bisect_right(self._ends, start) < bisect_left(self._starts, end)

    def count(self, start: int, end: int) -> int:
        """Return the number of sequences of `[start, end)` that are in it."""
        return sum(b - a for a, b in self.intersect(start, end))

    def remove(self, start: int, end: int) -> None:
        """Take out `[start, end)`."""
        starts, ends = self._starts, self._ends
        low = bisect_right(ends, start)
        high = bisect_left(starts, end)
        if low >= high or start >= end:
            return
        left, right = starts[low], ends[high - 1]
        starts[low:high] = ([left] if left < start else []) + ([end] if end < right else [])
        ends[low:high] = ([start] if left < start else []) + ([right] if end < right else [])

    def add(self, start: int, end: int) -> None:
        """Put in `[start, end)`."""
        if start >= end:
            return
        starts, ends = self._starts, self._ends
        low = bisect_left(ends, start)
        high = bisect_right(starts, end)
        if low < high:
            start = min(start, starts[low])
            end = max(end, ends[high - 1])
        starts[low:high] = [start]
        ends[low:high] = [end]

    def split(self, at: int) -> Self:
        """Keep what is below `at`; return the rest."""
        rest = self.copy()
        rest.remove(0, at)
        self.remove(at, OPEN)
        return rest


def runs(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join sorted half-open intervals that touch."""
    joined: list[tuple[int, int]] = []
    start = end = -1
    for a, b in intervals:
        if a == end:
            end = b
            continue
        if end >= 0:
            joined.append((start, end))
        start, end = a, b
    if end >= 0:
        joined.append((start, end))
    return joined
