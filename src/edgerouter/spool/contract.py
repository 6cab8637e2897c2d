"""The contract between the pipeline and a spool: append, a reader per sink, settle, dead-letter.

Everything here runs on the event loop. A spool may use threads behind it; nothing here blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool.operator import SpoolTools


@dataclass(frozen=True, slots=True)
class Ledger:
    """A sink's ledger: `matched = delivered + filtered + dead_lettered + dropped + pending`, at every moment, over restarts.

    Each is counted by itself, so that an error shows as a difference."""

    matched: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    dropped: int = 0
    filtered: int = 0
    """Waited when the sink's topic filters changed, and are not wanted any more."""
    pending: int = 0
    """Messages that this sink has still to settle."""
    uncounted: int = 0
    """Stored messages that are not compared with the sink's topic filters yet, or not since damage: the other numbers may change
    by so many."""

    @property
    def waiting(self) -> bool:
        """Messages wait, or may."""
        return bool(self.pending or self.uncounted)


@dataclass(frozen=True, slots=True)
class Route:
    """Configuration of a sink's reader."""

    sink: str
    filters: tuple[str, ...]
    """Topic filters as configured; a change of them is noticed by comparing with what the spool remembers."""
    matches: Callable[[str], bool]
    """True for a topic that the sink wants; cached, cheap enough to call per message."""
    start: Literal["now", "oldest"] = "now"
    drain: Literal["fifo", "live_first"] = "fifo"
    backlog_share: float = 0.5


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message goes to the dead letters."""

    message: Message
    reason: str
    error: str
    """Name of the error class."""
    attempts: int
    first_attempt: int
    """Nanoseconds since 1970-01-01 UTC."""
    config_digest: str = ""


SpoolState = Literal["ok", "full", "read_only", "failing"]


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """A spool's numbers, for status, metrics and readiness."""

    type: str
    id: str
    state: SpoolState
    reason: str
    """Why it is not `ok`; empty when it is."""
    messages: int
    """Messages held: pending for some sink, or retained."""
    bytes: int
    """Bytes used, of the file or of memory."""
    max_bytes: int
    free_bytes: int | None
    first_sequence: int
    last_sequence: int
    written_bytes: int
    """Bytes of chunks written since the start."""
    commits: int
    quarantined_chunks: int
    quarantined_messages: int
    dead_letters: int
    dead_letter_bytes: int
    orphans: tuple[str, ...]
    """Sinks that are no longer configured and still hold a position."""


class Reader(Protocol):
    """One sink's position in the spool, and its ledger. Used by one runner only."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def oldest_pending_at(self) -> int | None:
        """`received_at` of the oldest pending message as far as is known without reading the disk, ns; `None`: none is pending."""

    async def wait(self) -> None:
        """Return as soon as `take` would give something."""

    def take(self, max_messages: int) -> list[Message]:
        """The next messages that the sink wants and that were not taken yet, in order; empty when none is ready in memory just now.

        Then `wait`. What is taken stays pending until it is settled."""

    def is_pending(self, message: Message) -> bool:
        """Return True while the message is not settled."""

    def give_back(self, messages: Sequence[Message]) -> None:
        """Hand back messages that are not settled: they are taken again, in order."""

    def delivered(self, messages: Sequence[Message]) -> None:
        """Settle as delivered. Takes effect at once in memory and with the next commit on disk."""

    def dropped(self, messages: Sequence[Message], reason: str) -> None:
        """Settle as dropped by a policy that the user chose."""

    async def dead_letter(self, rejections: Sequence[Rejection]) -> None:
        """Settle as dead-lettered; return when the dead letters are safe."""

    async def keep_batch(self, messages: Sequence[Message]) -> None:
        """Remember that these messages form one batch; returns when that is on disk. Forgotten when all of them are settled."""

    async def kept_batches(self) -> list[list[Message]]:
        """The remembered batches that are not settled, oldest first, of an earlier run; they count as taken from now on."""


class Spool(Protocol):
    """A bounded log shared by all sinks."""

    @property
    def id(self) -> str:
        """Unique for ever; the first part of every message id."""

    @property
    def status(self) -> SpoolStatus: ...

    @property
    def ledgers(self) -> Mapping[str, Ledger]:
        """The ledger of every sink that holds a position, attached or not."""

    @property
    def faults(self) -> Mapping[str, str]:
        """Why a sink's numbers cannot be right, by its name; empty when all of them add up."""

    @property
    def drops(self) -> Mapping[tuple[str, str, str], int]:
        """Messages dropped, by (sink, or "" before routing; first topic level; reason)."""

    def count_dropped(self, topic: str, messages: int, reason: str) -> None:
        """Count messages that a source had to drop."""

    async def append(self, source: str, delivery: Delivery, wanted: Mapping[str, int]) -> None:
        """Take a delivery; returns when it is taken, waiting for room where `on_full` says `block`.

        `wanted` says how many of its messages each sink wants. The spool calls `delivery.acknowledge` when the messages are safe,
        in the order of the calls to `append`: SQLite before `append` returns, memory once every sink has settled them.
        """

    def unacknowledged(self, source: str) -> Sequence[Delivery]:
        """Deliveries with a receipt, of an earlier run, whose acknowledgement may not have reached the sender; oldest first."""

    async def attach(self, route: Route) -> Reader:
        """Open a sink's position, or make one."""

    async def detach(self, sink: str) -> None:
        """The sink is gone from the configuration; its position stays until `forget`, or until room is needed."""

    async def forget(self, sink: str) -> None:
        """Give up the position of a detached sink."""

    @property
    def tools(self) -> SpoolTools:
        """The part that operators use."""

    async def flush(self) -> None:
        """Return when everything settled so far is on disk.

        Raises:
            SpoolError: it could not be written just now; it is tried again by itself.
        """

    async def close(self) -> None:
        """Flush and close."""
