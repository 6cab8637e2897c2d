"""The sink contract: deliver messages to a service.

Life cycle: the configuration is validated, `open` is entered, `limits` is read, `write` is called any number of times, `open` is
left. Up to `concurrency` writes (1 by default) run at once. A connection that is lost is made anew by the next `write`; after
repeated `Unauthorized` the router opens the sink again, with its secrets read anew. All sinks and sources share one event loop: a
call that blocks for more than a few milliseconds goes through `asyncio.to_thread`, or the sink declares `blocking`.

The router owns reading, batching, time-outs, back-off, bisection, dead letters and metrics. A sink only makes the call: it never
retries, buffers or logs, and switches its SDK's retries off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Self, TypeVar

from edgerouter.loop_guard import LoopGuard
from edgerouter.message import Message
from edgerouter.outcome import Outcome
from edgerouter.plugin_config import Configured, PluginConfig


class SinkConfig(PluginConfig):
    """Base of a sink's configuration. A docstring under every field is the user manual; unknown keys are errors."""


ConfigT = TypeVar("ConfigT", bound=SinkConfig)


@dataclass(frozen=True, slots=True)
class Limits:
    """The service's hard limits for one `write`; `None` = no limit. The user's `batch` is clipped to them."""

    max_messages: int | None = None
    max_bytes: int | None = None
    """Sum of `size_of` over one batch."""
    max_message_bytes: int | None = None
    """Largest `size_of` of a message; a larger one is dead-lettered without being written."""


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
    """Seconds that one `write` may take; one of several requests ends well before, and returns the rest as `Outcome.untried`."""
    probe: bool = False
    """True for `check --connect`: only find out in `open` whether the service lets us in. Write nothing, and disturb no running
    router of the same configuration: take no lock or name that it holds, create and delete nothing that it uses."""
    shape: str = ""
    """Changes with the sink's `steps`, empty without any: part of an object's key, since the same messages look different then."""
    loops: LoopGuard = field(default_factory=LoopGuard, repr=False, compare=False)
    """For sinks that publish to a broker: which messages would circle."""


class Sink(Configured[ConfigT], ABC):
    """A connected sink. An object exists only while its client is open."""

    blocking: ClassVar[bool] = False
    """True for a synchronous client: `open`, `write` and `holds` run on an event loop in a separate thread, so that only this sink
    waits, and its writes take turns. Everything else is called on the router's loop and must not block."""

    @classmethod
    @abstractmethod
    def open(cls, config: ConfigT, context: SinkContext) -> AbstractAsyncContextManager[Self]:
        """Connect, yield the sink, close on exit; may raise `Unavailable`."""

    @property
    def limits(self) -> Limits:
        """Limits of the service, read from it while opening where it reports them."""
        return Limits()

    @property
    def stable_batches(self) -> bool:
        """True where several messages become one object: a retry has the same batch, even after a crash, at a commit for each."""
        return False

    @property
    def partitioned(self) -> bool:
        """False where `partition_of` is always `None`, which spares a call for each message."""
        return True

    @property
    def ordered(self) -> bool:
        """False where `order_of` is always `None`, which spares a call for each message. Default: as `partitioned`."""
        return self.partitioned

    def size_of(self, message: Message) -> int:
        """Bytes that this message adds to a request, attributes included."""
        return len(message.payload)

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        """`size_of` each of these; for sinks that can do it with less than a call for each."""
        return list(map(self.size_of, messages))

    def partition_of(self, message: Message) -> Hashable:  # noqa: ARG002  (for sinks that partition)
        """Value that all messages of one `write` share, such as the prefix of an object's key. Default: `None`."""
        return None

    def order_of(self, message: Message) -> Hashable:
        """Messages of equal value are never in two writes at once. `None`: no order. Default: the partition."""
        return self.partition_of(message)

    async def holds(self, batch: Sequence[Message]) -> bool:  # noqa: ARG002  (for object stores)
        """Ask for the object of exactly these messages, when `write` rejects a batch that an earlier write may have stored.

        True: delivered. False: not stored, or cannot be asked; the batch is split or dead-lettered. May raise `Unavailable`.
        """
        return False

    @abstractmethod
    async def write(self, batch: Sequence[Message]) -> Outcome:
        """Send these messages now, any subset in any call; `batch` is never empty and never over `limits`.

        Raises:
            Unavailable: nothing was taken, or the outcome is unknown; all are written again after a back-off.
            Rejected: at least one message can never be taken; the router finds it by bisection.
        """
