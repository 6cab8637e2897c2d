"""A cursor: one of the places in the spool from which a sink reads, and what has been read there and not been taken yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import msgspec

from edgerouter.message import Message
from edgerouter.spool.log.position import Position


class Piece(msgspec.Struct):
    """Messages that a sink wants, in order."""

    messages: list[Message]
    sequences: Sequence[int]
    starts: Sequence[int]
    """For each message, where the messages begin that stand directly before it and that the sink does not want: they are settled
    together with it, so that a position does not break into as many ranges as there are messages."""

    @staticmethod
    def of_wanted(messages: list[Message], start: int) -> tuple[Piece, int]:
        """Return the messages as a piece, and the sequence from which on none of them is.

        Args:
            messages: those that the sink wants of a range.
            start: where the range begins.
        """
        sequences = [message.sequence for message in messages]
        starts = [start, *[sequence + 1 for sequence in sequences]]
        return Piece(messages, sequences, starts[:-1]), starts[-1]


class Cursor:
    """Messages read ahead of a sink, from a part of its position."""

    def __init__(self, unread: Position) -> None:
        self.unread = unread
        """Sequences that were not read yet."""
        self.pieces: deque[Piece] = deque()
        self.waiting = 0
        """Messages in `pieces`, those already taken from the first one included."""
        self.loading = False
        self._at = 0

    @property
    def held(self) -> int:
        """Messages that are read and not taken."""
        return self.waiting - self._at

    def put(self, piece: Piece) -> None:
        """Add messages after those that are there."""
        self.pieces.append(piece)
        self.waiting += len(piece.messages)

    def take(self, most: int, taken: dict[int, int]) -> list[Message]:
        """Take messages out of the first piece; note in `taken` from where on each settles."""
        piece = self.pieces[0]
        start, stop = self._at, self._at + most
        if stop >= len(piece.messages):
            self.pieces.popleft()
            self.waiting -= len(piece.messages)
            self._at = 0
        else:
            self._at = stop
        if start == 0 and stop >= len(piece.messages):
            taken.update(zip(piece.sequences, piece.starts, strict=True))
            return piece.messages.copy()
        taken.update(zip(piece.sequences[start:stop], piece.starts[start:stop], strict=True))
        return piece.messages[start:stop]

    def discard(self, gone: Callable[[int], bool]) -> None:
        """Throw away what waits and must not be taken any more."""
        pieces = list(self.pieces)
        at, self._at = self._at, 0
        self.pieces.clear()
        self.waiting = 0
        for piece in pieces:
            rows = zip(piece.messages, piece.sequences, piece.starts, strict=True)
            left = [row for row in islice(rows, at, None) if not gone(row[1])]
            at = 0
            if left:
                messages, sequences, starts = zip(*left, strict=True)
                self.put(Piece(list(messages), sequences, starts))
