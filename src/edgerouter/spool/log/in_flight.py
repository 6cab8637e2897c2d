"""What a sink has taken and not settled, and what of it was given back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from operator import attrgetter

from edgerouter.message import Message
from edgerouter.spool.log.position import runs

_sequence = attrgetter("sequence")


class Taken:
    """Every message that is taken, with the place from which on it settles what stands before it."""

    def __init__(self) -> None:
        self.gaps: dict[int, int] = {}
        """For each sequence that is taken, where the messages begin that are settled together with it."""
        self._returned: list[Message] = []  # sorted, the lowest last
        self._returned_gaps: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self.gaps or self._returned)

    @property
    def count(self) -> int:
        """Number of messages taken, or given back and not taken again."""
        return len(self.gaps) + len(self._returned)

    @property
    def returned(self) -> bool:
        """Whether something was given back and not taken again."""
        return bool(self._returned)

    def again(self, most: int) -> list[Message]:
        """Take what was given back, the lowest first."""
        returned = self._returned
        out = returned[-most:][::-1]
        del returned[-most:]
        for message in out:
            self.gaps[message.sequence] = self._returned_gaps.pop(message.sequence)
        return out

    def give_back(self, messages: Sequence[Message]) -> bool:
        """They are not taken any more and wait to be taken again; False when none of them was taken."""
        back = []
        for message in messages:
            gap = self.gaps.pop(message.sequence, None)
            if gap is not None:
                self._returned_gaps[message.sequence] = gap
                back.append(message)
        if back:
            self._returned += back
            self._returned.sort(key=_sequence, reverse=True)
        return bool(back)

    def settle(self, messages: Sequence[Message]) -> tuple[list[int], list[tuple[int, int]]]:
        """Those of the messages that are taken are so no longer: their sequences, and the ranges that they settle."""
        sequences = [message.sequence for message in messages]
        gaps = list(map(self.gaps.pop, sequences, repeat(-1)))
        if -1 in gaps:
            known = [(sequence, gap) for sequence, gap in zip(sequences, gaps, strict=True) if gap >= 0]
            sequences = [sequence for sequence, _ in known]
            gaps = [gap for _, gap in known]
        if not sequences:
            return [], []
        low, high = min(gaps), max(sequences) + 1
        # the ranges do not overlap, so if together they are as long as from end to end they are one
        if sum(sequences) + len(sequences) - sum(gaps) == high - low:
            return sequences, [(low, high)]
        return sequences, runs(sorted((gap, sequence + 1) for gap, sequence in zip(gaps, sequences, strict=True)))

    def discard(self, gone: Callable[[int], bool]) -> None:
        """Forget what must not be settled any more."""
        self._returned = [message for message in self._returned if not gone(message.sequence)]
        self._returned_gaps = {s: gap for s, gap in self._returned_gaps.items() if not gone(s)}
        self.gaps = {s: gap for s, gap in self.gaps.items() if not gone(s)}

    def clear(self) -> None:
        """Forget everything."""
        self.gaps.clear()
        self._returned.clear()
