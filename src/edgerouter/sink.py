"""The sink contract: what a plugin writes to deliver messages to a service.

Life cycle, in order: the class is loaded, its configuration is validated, `open` is entered, `limits` is read,
`write` is called any number of times, `open` is left. If `write` keeps failing the router may leave `open` and enter it again
with a freshly resolved configuration. Up to `concurrency` calls of `write` run at once (1 unless the user says more);
everything runs on one event loop, which all sinks and sources share: a call that blocks for more than a few milliseconds goes
through `asyncio.to_thread`, or the sink declares `blocking`.

The router owns reading, batching, concurrency, time-outs, back-off, bisection, dead letters, metrics and drain.
A sink only makes the call: it never retries, never buffers, never logs, and switches its SDK's own retries off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Final, Self, TypeVar

from edgerouter.errors import Rejected, Unavailable
from edgerouter.loop_guard import LoopGuard
from edgerouter.message import Message
from edgerouter.plugin_config import Configured, PluginConfig


class SinkConfig(PluginConfig):
    """Base of a sink's configuration. A docstring under every field is the user manual; unknown keys are errors."""


ConfigT = TypeVar("ConfigT", bound=SinkConfig)


@dataclass(frozen=True, slots=True)
class Limits:
    """The service's hard limits for one `write`; `None` = no limit. The router clips the user's `batch` to them."""

    max_messages: int | None = None
    max_bytes: int | None = None
    """Sum of `size_of` over one batch."""
    max_message_bytes: int | None = None
    """Largest `size_of` of one message; a larger one is dead-lettered for this sink without being written."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One message of a batch that was not taken."""

    index: int
    """Its place in the batch, from 0."""
    error: Unavailable | Rejected
    may_have_arrived: bool = False
    """True where no answer came for it, so that the service may hold it; False where the service refused it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one write: every message that is neither in `failed` nor in `untried` is delivered."""

    failed: Sequence[Failure] = ()
    untried: Sequence[int] = ()
    """Places in the batch of messages that were not attempted, because the write ended in time; written next, at once."""
    receipts: Sequence[str] | str | None = None
    """Answer of the service: an identifier for each delivered message in their order, or one for the whole batch."""


DELIVERED: Final = Outcome()
"""The service took every message, and gave no receipt."""


@dataclass(frozen=True, slots=True)
class SinkContext:
    """Context that the router passes to a sink when it opens it."""

    name: str
    """The sink's name in the configuration."""
    host: str
    """The device's name, for object keys and client ids."""
    spool: str
    """Id of the spool, the first part of every message id."""
    timeout: float = 30.0
    """Seconds that one `write` may take. A sink that makes several requests in one write ends it well before, and returns what it
    did not try as `Outcome.untried`; otherwise a slow link would have it make the same requests again for ever."""
    probe: bool = False
    """True for `edgerouter check --connect`, possibly while the router runs: only find out in `open` whether the other side lets us
    in. Nothing is written. Leave a running router with the same configuration undisturbed: take no lock and no name that
    it holds, create and delete nothing that it uses."""
    loops: LoopGuard = field(default_factory=LoopGuard, repr=False, compare=False)
    """For sinks that publish to a broker: which messages would circle."""


class Sink(Configured[ConfigT], ABC):
    """A connected sink. An object exists only while its client is open."""

    blocking: ClassVar[bool] = False
    """True for a sink that calls a synchronous client: the router opens, writes and closes it in a separate thread with its own
    event loop, so that only this sink waits. Its writes then take turns, whatever `concurrency` says. `limits`, `size_of`,
    `partition_of` and `order_of` are still called on the router's loop, and block nothing."""

    @classmethod
    @abstractmethod
    def open(cls, config: ConfigT, context: SinkContext) -> AbstractAsyncContextManager[Self]:
        """Connect, yield the sink, close on exit.

        Raises:
            Unavailable: the service cannot be reached, or does not let us in; tried again with back-off.
        """

    @property
    def limits(self) -> Limits:
        """Limits of the service, read from it while opening where it reports them."""
        return Limits()

    @property
    def stable_batches(self) -> bool:
        """True where many messages become one object: the router stores a batch's boundaries before its first `write`.

        A retry, even after a crash, then has the same messages, and the same object can be written again. One object for each
        message needs no stored boundaries, and saves a commit for each.
        """
        return False

    @property
    def partitioned(self) -> bool:
        """False where `partition_of` is always `None`, which spares the router asking for each message."""
        return True

    @property
    def ordered(self) -> bool:
        """False where `order_of` is always `None`, which spares the same with `concurrency` > 1. Default: as `partitioned`."""
        return self.partitioned

    def size_of(self, message: Message) -> int:
        """Bytes that this message adds to a request, attributes included."""
        return len(message.payload)

    def partition_of(self, message: Message) -> Hashable:  # noqa: ARG002  (for sinks that partition)
        """Value that all messages of one `write` share: an object's key prefix, a partition key. Default: `None`."""
        return None

    def order_of(self, message: Message) -> Hashable:
        """Messages of equal value are never in two writes at once, so that their order is kept when `concurrency` > 1.

        Default: the partition. `None` promises no order.
        """
        return self.partition_of(message)

    async def holds(self, batch: Sequence[Message]) -> bool:  # noqa: ARG002  (for object stores)
        """Ask the service whether it holds the object of exactly these messages; False where it cannot be asked.

        The router asks when `write` rejects a batch after an attempt with an unknown outcome: what is stored already counts as
        delivered, instead of being stored again in halves or dead-lettered.

        Raises:
            Unavailable: the service did not answer; the batch is written again after a back-off.
        """
        return False

    @abstractmethod
    async def write(self, batch: Sequence[Message]) -> Outcome:
        """Send these messages now; return which were not taken (`DELIVERED`: all were).

        `batch` is never empty and never over `limits`. It may be called again with any subset, and keeps nothing between calls.
        It may raise instead when the whole batch shares one fate.

        Raises:
            Unavailable: nothing was taken, or the outcome is unknown; all are tried again.
            Rejected: at least one message can never be taken; the router finds it by bisection.
        """
