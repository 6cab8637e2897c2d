"""The contract between the pipeline and a spool: append, a reader per sink, settle, dead-letter.

Everything here runs on the event loop. A spool may use threads behind it; nothing here blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool.operator import SpoolTools
from edgerouter.spool.status import Ledger, SpoolStatus


class Route(msgspec.Struct, frozen=True):
    """Configuration of a sink's reader."""

    sink: str
    filters: tuple[str, ...]
    """Topic filters as configured; the spool remembers them and notices a change."""
    matches: Callable[[str], bool]
    """True for a topic that the sink wants; cheap enough to call per message."""
    start: Literal["now", "oldest"] = "now"
    drain: Literal["fifo", "live_first"] = "fifo"
    backlog_share: float = 0.5


class Rejection(msgspec.Struct, frozen=True):
    """Why a message goes to the dead letters."""

    message: Message
    reason: str
    error: str
    """Name of the error class."""
    attempts: int
    first_attempt: int
    """Nanoseconds since 1970-01-01 UTC."""
    config_digest: str = ""


class Reader(Protocol):
    """One sink's position in the spool, and its ledger. Used by one runner only."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def oldest_pending_at(self) -> int | None:
        """`received_at` of the oldest pending message, ns, as far as known without reading the disk; `None`: none is pending."""

    def on_ready(self, call: Callable[[], None]) -> None:
        """Have this called on the event loop whenever `take` may return more; it replaces the callback set before."""

    def take(self, max_messages: int) -> list[Message]:
        """Return the next messages that the sink wants; they stay pending until settled. Empty: none is in memory yet."""

    @property
    def caught_up(self) -> bool:
        """Everything that is stored has been taken."""

    def is_pending(self, message: Message) -> bool:
        """Return True while the message is not settled."""

    def give_back(self, messages: Sequence[Message]) -> None:
        """Hand back what is not settled; it is taken again, in order."""

    def delivered(self, messages: Sequence[Message]) -> None:
        """Settle as delivered. Takes effect at once in memory and with the next commit on disk."""

    def filtered(self, messages: Sequence[Message]) -> None:
        """Settle as not wanted by a step of the sink."""

    def dropped(self, messages: Sequence[Message], reason: str) -> None:
        """Settle as dropped by a policy that the user chose."""

    async def dead_letter(self, rejections: Sequence[Rejection]) -> None:
        """Settle as dead-lettered; return when the dead letters are safe."""

    async def keep_batch(self, messages: Sequence[Message]) -> None:
        """Remember until all are settled that these messages form one batch; return when that is on disk."""

    async def kept_batches(self) -> list[list[Message]]:
        """Return the remembered batches of an earlier run, oldest first; they count as taken from now on."""


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
        """Append a delivery, of which each sink wants so many messages; wait for room where `on_full` says `block`.

        The spool calls `delivery.acknowledge` when the messages are safe, in the order of the calls to `append`: SQLite before
        `append` returns, memory once every sink has settled them.
        """

    def unacknowledged(self, source: str) -> Sequence[Delivery]:
        """Deliveries of an earlier run with a receipt, whose acknowledgement may not have reached the sender; oldest first."""

    async def attach(self, route: Route) -> Reader:
        """Open a sink's position, or make one."""

    async def detach(self, sink: str) -> None:
        """The sink is gone from the configuration; its position stays until `forget`, or until room is needed."""

    async def forget(self, sink: str) -> None:
        """Give up the position of a detached sink."""

    @property
    def tools(self) -> SpoolTools:
        """The part that operators use."""

    async def hand_over(self) -> None:
        """Leave to the other routers that share the spool what they can deliver; the rest stays here."""

    async def beat(self) -> None:
        """Return when the thread behind the spool has answered; at once where there is none. The watchdog asks it."""

    async def flush(self) -> None:
        """Return when everything settled so far is on disk; raises `SpoolError` when it could not be written just now."""

    async def close(self) -> None:
        """Flush and close."""
