"""Messages in flight: taken by a sink and not settled, or given back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from operator import attrgetter

from edgerouter.message import Message
from edgerouter.spool.log.position import runs

_sequence = attrgetter("sequence")


class InFlight:
    """Every message that is taken, with the place from which on it settles what stands before it."""

    def __init__(self) -> None:
        self.starts: dict[int, int] = {}
        """For each sequence that is taken, where the messages begin that are settled together with it."""
        self._returned: list[Message] = []  # sorted, the lowest last
        self._returned_starts: dict[int, int] = {}

    @property
    def count(self) -> int:
        """Number of messages taken, or given back and not taken again."""
        return len(self.starts) + len(self._returned)

    @property
    def returned(self) -> bool:
        """True when something was given back and not taken again."""
        return bool(self._returned)

    def again(self, most: int) -> list[Message]:
        """Take what was given back, the lowest first."""
        returned = self._returned
        out = returned[-most:][::-1]
        del returned[-most:]
        for message in out:
            self.starts[message.sequence] = self._returned_starts.pop(message.sequence)
        return out

    def give_back(self, messages: Sequence[Message]) -> bool:
        """They are not taken any more and wait to be taken again; False when none of them was taken."""
        back = []
        for message in messages:
            start = self.starts.pop(message.sequence, None)
            if start is not None:
                self._returned_starts[message.sequence] = start
                back.append(message)
        if back:
            self._returned += back
            self._returned.sort(key=_sequence, reverse=True)
        return bool(back)

    def settle(self, messages: Sequence[Message]) -> tuple[list[int], list[tuple[int, int]]]:
        """Those of the messages that are taken are so no longer: their sequences, and the ranges that they settle."""
        sequences = [message.sequence for message in messages]
        starts = list(map(self.starts.pop, sequences, repeat(-1)))
        if -1 in starts:
            known = [(sequence, start) for sequence, start in zip(sequences, starts, strict=True) if start >= 0]
            sequences = [sequence for sequence, _ in known]
            starts = [start for _, start in known]
        if not sequences:
            return [], []
        low, high = min(starts), max(sequences) + 1
        # the ranges do not overlap, so if together they are as long as from end to end they are one
        if sum(sequences) + len(sequences) - sum(starts) == high - low:
            return sequences, [(low, high)]
        return sequences, runs(sorted((start, sequence + 1) for start, sequence in zip(starts, sequences, strict=True)))

    def discard(self, gone: Callable[[int], bool]) -> None:
        """Forget what must not be settled any more."""
        self._returned = [message for message in self._returned if not gone(message.sequence)]
        self._returned_starts = {s: start for s, start in self._returned_starts.items() if not gone(s)}
        self.starts = {s: start for s, start in self.starts.items() if not gone(s)}

    def clear(self) -> None:
        """Forget everything."""
        self.starts.clear()
        self._returned.clear()
