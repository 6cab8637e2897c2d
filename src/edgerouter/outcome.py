"""Result of a sink's `write`: which messages of the batch were not taken, and what the service answered for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgerouter.errors import Rejected, Unavailable


@dataclass(frozen=True, slots=True)
class Failure:
    """A message of a batch that was not taken."""

    index: int
    """Its place in the batch, from 0."""
    error: Unavailable | Rejected
    may_have_arrived: bool = False
    """True where no answer came for it; False where the service refused it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one write: every message in neither `failed` nor `untried` is delivered."""

    failed: Sequence[Failure] = ()
    untried: Sequence[int] = ()
    """Places of messages that were not attempted, because the write ended in time; they are written next."""
    receipts: Sequence[str] | str | None = None
    """The service's answer: an identifier for each delivered message in their order, or one for the batch."""


DELIVERED: Final = Outcome()
"""Every message was taken, without a receipt."""
