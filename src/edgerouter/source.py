"""The source contract: bring messages in.

Life cycle: the configuration is validated, `open` is entered, `deliveries` is iterated once, `open` is left.

The router owns reconnecting: `open` and `deliveries` raise `Unavailable`, and the source is opened again after a back-off, with its
secrets read anew. A source reconnects by itself only where closing would lose what the other side holds for it, such as an MQTT
session or the leases of messages that are not stored yet.

The router asks for the next delivery when it can store one. Until then the source gathers, so that one commit takes many messages,
within its bound: it stops reading, or, where the protocol has no flow control, drops and counts with `SourceContext.dropped`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self, TypeVar

from edgerouter.message import Message
from edgerouter.plugin_config import Configured, PluginConfig


class SourceConfig(PluginConfig):
    """Base of a source's configuration. A docstring under every field is the user manual; unknown keys are errors."""

    @property
    def window(self) -> int | None:
        """Most messages that the sender leaves unacknowledged, where that is known: no batch of a volatile spool is larger."""
        return None


ConfigT = TypeVar("ConfigT", bound=SourceConfig)


class Confirmation:
    """Confirms that the sender has read the acknowledgement of a delivery, and will not send its messages again."""

    __slots__ = ("_listener", "confirmed")

    def __init__(self) -> None:
        self.confirmed = False
        self._listener: Callable[[], None] | None = None

    def when_confirmed(self, call: Callable[[], None]) -> None:
        """For the router: have `call` called once, when it is confirmed."""
        self._listener = call

    def confirm(self) -> None:
        """The sender has read it."""
        if not self.confirmed:
            self.confirmed = True
            if self._listener is not None:
                self._listener()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Messages read together, and the call that acknowledges them to their sender."""

    messages: Sequence[Message]
    acknowledge: Callable[[], None]
    """Called once the messages are safe, in the order of the deliveries. Does nothing on a connection that is gone."""
    receipt: bytes = b""
    """Kept by the spool until the messages are acknowledged, and given back after a crash in `SourceContext.unacknowledged`, to
    distinguish a redelivered message from a new one."""
    confirmation: Confirmation | None = None
    """Given by a source that learns when its acknowledgement was read: the receipt is kept until then."""
    receipt_stands_alone: bool = False
    """The receipt identifies what was sent without a look at the messages. It is kept, too, where steps of the source have changed,
    split or left out some of them: one that a step left out counts as stored."""

    def shaped(self, messages: Sequence[Message]) -> Delivery:
        """Return the delivery with what steps have made of its messages."""
        if not self.receipt_stands_alone:
            return Delivery(messages, self.acknowledge)
        return replace(self, messages=messages)


class Dropped(Protocol):
    """Counts messages that the source had to drop because its bound is reached."""

    def __call__(self, topic: str, messages: int, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class SourceContext:
    """Settings and callbacks that the router gives to a source when it opens it."""

    name: str
    """The source's name in the configuration."""
    host: str
    """The device's name, for client ids."""
    spool: str
    """Id of the spool, as in the ids of its messages. A volatile spool has a new one at each start."""
    flush_now: Callable[[], None]
    """Ask for a commit at once: the sender sends nothing more before it gets acknowledgements."""
    dropped: Dropped
    connected: Callable[[bool, str], None]
    """Report whether the source is connected, and why not; for status and readiness."""
    unacknowledged: Sequence[Delivery] = ()
    """Stored deliveries whose acknowledgement may not have reached the sender, oldest first."""
    state: Path | None = None
    """A folder for the source's own small files, kept over restarts; the source makes it. `None`: nothing is kept."""
    identity: str = ""
    """Stable over restarts with every kind of spool, so good for a client id. Empty: use `spool`."""
    probe: bool = False
    """True for `check --connect`: only find out whether the other side lets us in, and say so with `connected`. Take no messages,
    keep no session, and disturb no running router: another client id, no lasting subscription, no status."""


class Source(Configured[ConfigT], ABC):
    """A source. An object exists only while it is open."""

    @classmethod
    @abstractmethod
    def open(cls, config: ConfigT, context: SourceContext) -> AbstractAsyncContextManager[Self]:
        """Make the source ready and close it on exit; may raise `Unavailable`."""

    @abstractmethod
    def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what comes in, until cancelled; raises `Unavailable` where the connection cannot be made, or is lost."""

    @property
    def repeated(self) -> int:
        """Messages that the other side sent again and that were recognised, so not delivered again; since `open`."""
        return 0

    @property
    def oldest_unacknowledged_seconds(self) -> float | None:
        """Age of the oldest message that is not acknowledged yet; 0 without one, `None` where the source does not know."""
        return None

    @property
    def fence_age_seconds(self) -> float | None:
        """Age of the oldest acknowledgement that the sender may not have read; 0 without one, `None` where that is not known."""
        return None

    def stop(self) -> None:
        """Receive nothing more: `deliveries` yields what has arrived, then ends. Acknowledgements work until `open` is left."""
