"""Messages of a stream that are stored and acknowledged: recognised however long ago they came."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

_MOST_RANGES: Final = 10_000


class Place(NamedTuple):
    """Place of a message in its stream."""

    sequence: int
    timestamp: int
    """Nanoseconds since 1970-01-01 UTC, by the server's clock."""


def place_of(reply: str) -> Place | None:
    """Return the place in the address of an acknowledgement (docs.nats.io, ADR-15); `None` if there is none."""
    tokens = reply.split(".")
    at = 5 if len(tokens) == 9 else 7
    try:
        return Place(int(tokens[at]), int(tokens[at + 2]))
    except (IndexError, ValueError):
        return None


class Seen:
    """A set of places, as ranges of sequences. Beyond its bound the oldest are forgotten.

    A server that lost the end of a stream in a power cut, and a stream that was deleted, give the same sequences to other messages.
    Their timestamps are later than that of every message that came before, so such a message is not taken for one of these.

    Args:
        ranges: first and last sequence of each.
        latest: latest timestamp among them.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = (), latest: int = 0) -> None:
        ordered = sorted(ranges)
        self._starts = [start for start, _ in ordered]
        self._ends = [end for _, end in ordered]
        self._latest = latest

    @property
    def latest(self) -> int:
        """Latest timestamp."""
        return self._latest

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last sequence of each range, in order."""
        return list(zip(self._starts, self._ends, strict=True))

    def __contains__(self, place: Place) -> bool:
        at = bisect_right(self._starts, place.sequence) - 1
        return at >= 0 and place.sequence <= self._ends[at] and place.timestamp <= self._latest

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, place: Place) -> None:
        """Add one place; cheapest for the one after the last."""
        starts, ends, sequence = self._starts, self._ends, place.sequence
        if ends and sequence == ends[-1] + 1:
            ends[-1] = sequence
            self._latest = max(self._latest, place.timestamp)
            return
        at = bisect_right(starts, sequence) - 1
        if at >= 0 and sequence <= ends[at] and place.timestamp > self._latest:
            # the stream has begun anew, or went back
            starts.clear()
            ends.clear()
            at = -1
        self._latest = max(self._latest, place.timestamp)
        if at >= 0 and sequence <= ends[at] + 1:
            ends[at] = max(ends[at], sequence)
        else:
            at += 1
            starts.insert(at, sequence)
            ends.insert(at, sequence)
        if at + 1 < len(starts) and starts[at + 1] <= ends[at] + 1:
            ends[at] = ends.pop(at + 1)
            del starts[at + 1]
        if len(starts) > _MOST_RANGES:
            del starts[0], ends[0]
