"""The part of a spool that operators use: dead letters, replay, verify. The pipeline sees `contract.py` only."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from edgerouter.message import Message

STORED_BYTES: Final = 4 * 1024**2
"""Bytes of messages after which `SpoolTools.stored` returns."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that a sink's service will never take, and why."""

    number: int
    """Names the dead letter; never used again."""
    sink: str
    message: Message
    reason: str
    error: str
    """Name of the error class."""
    attempts: int
    first_attempt: int
    """Nanoseconds since 1970-01-01 UTC."""
    last_attempt: int
    """Nanoseconds since 1970-01-01 UTC."""
    config_digest: str


class DeadLetterFilter(msgspec.Struct, frozen=True):
    """Selects dead letters; what is left at its default does not matter."""

    sink: str | None = None
    topic: str | None = None
    """An MQTT topic filter."""
    since: int | None = None
    """Dead-lettered at this time or later, ns."""
    until: int | None = None
    """Dead-lettered before this time, ns."""
    reason: str | None = None
    """A part of the reason or of the error's name, upper or lower case."""
    numbers: tuple[int, ...] = ()


class Verification(msgspec.Struct, frozen=True):
    """Result of `verify`; all is well when `problems` is empty."""

    chunks: int
    messages: int
    damaged_chunks: int
    problems: tuple[str, ...]
    """One line each."""


class Stored(msgspec.Struct, frozen=True):
    """Some of the messages that a spool holds, in order."""

    messages: list[Message] = msgspec.field(default_factory=list)
    next: int = 0
    """Sequence from which to continue; 0 = there are no more."""


class SpoolTools(Protocol):
    """Operations on a spool, of a running router or, with the spool opened by the command itself, of a stopped one."""

    async def dead_letters(self, which: DeadLetterFilter, *, limit: int = 100, after: int = 0) -> list[DeadLetter]:
        """Dead letters in the order of their numbers, those above `after`."""

    async def count_dead_letters(self, which: DeadLetterFilter) -> int:
        """Return their number."""

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        """Send them to their sinks again, as new messages for these sinks alone; returns how many."""

    async def purge_dead_letters(self, which: DeadLetterFilter) -> int:
        """Throw them away; they count as dropped. Returns how many."""

    async def replay(
        self, sink: str, *, topic: str = "#", since: int | None = None, until: int | None = None, dry_run: bool = False
    ) -> int:
        """Make messages that the spool still holds pending again for a sink that had settled them.

        Args:
            sink: a sink with a position, attached or not.
            topic: only topics that match this filter, beside the sink's own.
            since: only messages received at this time or later, ns.
            until: only messages received before this time, ns.
            dry_run: only count.

        Returns:
            how many messages.

        Raises:
            SpoolError: there is no such sink.
        """

    async def stored(self, start: int, *, since: int | None = None, until: int | None = None) -> Stored:
        """Return the next messages that the spool holds, settled or not, in order; without replayed dead letters, which are copies.

        Args:
            start: first sequence wanted.
            since: only messages received at this time or later, ns.
            until: only messages received before this time, ns.

        Returns:
            about `STORED_BYTES` of them, or none although there are more.
        """

    async def verify(self) -> Verification:
        """Read everything: starts, checksums, ledgers."""
