"""Attempts to write one batch: the state that its retries and its dead letters need."""

from __future__ import annotations

import time

import msgspec

from edgerouter.message import Message
from edgerouter.spool.contract import Rejection

LETTERS_AT_ONCE = 100
"""Messages found one by one to be rejected that are settled together."""
LETTERS_WAIT_SECONDS = 1.0
"""Longest time that the first of them waits for that."""


class Part(msgspec.Struct):
    """Messages of a batch that are written together."""

    messages: list[Message]
    writes: int = 0
    """Number of writes that each of them was part of."""
    uncertain: bool = False
    """An earlier write of exactly these messages has an unknown outcome: they may be stored."""

    def halves(self) -> tuple[Part, Part]:
        """Two parts of about the same length."""
        middle = len(self.messages) // 2
        return Part(self.messages[:middle], self.writes), Part(self.messages[middle:], self.writes)


class Attempts(msgspec.Struct):
    """State of one batch over all its writes."""

    started: float
    """Monotonic seconds."""
    started_at: int
    """Nanoseconds since 1970-01-01 UTC."""
    batch: list[Message]
    size: int | None
    """Of the whole batch, as it was counted when it was gathered."""
    stable: bool = False
    """The batch is one object."""
    failures: int = 0
    """Consecutive failures; a definitive answer resets the count."""
    bugs: int = 0
    unanswered: int = 0
    """Writes in a row that ran into the time-out."""
    rejected: list[Rejection] = msgspec.field(default_factory=list)
    """Found by halving and not settled yet: many bad messages in a row would each wait for a separate commit."""

    rejected_at: float = 0.0
    """Monotonic seconds of the first of them."""

    def reject(self, rejection: Rejection) -> None:
        """Settle this one before long."""
        if not self.rejected:
            self.rejected_at = time.monotonic()
        self.rejected.append(rejection)

    @property
    def rejected_enough(self) -> bool:
        """There are so many, or the first has waited so long, that they should be settled."""
        return len(self.rejected) >= LETTERS_AT_ONCE or time.monotonic() - self.rejected_at > LETTERS_WAIT_SECONDS

    def take_rejected(self) -> list[Rejection]:
        """`rejected`, and forget them."""
        taken, self.rejected = self.rejected, []
        return taken
