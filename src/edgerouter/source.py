"""The source contract: what a plugin writes to bring messages in.

Life cycle, in order: the class is loaded, its configuration is validated, `open` is entered, `deliveries` is iterated once,
`open` is left.

The router owns reconnecting: a source that cannot connect, or has lost its connection, raises `Unavailable` from `open` or from
`deliveries`, and is opened again after a back-off, with its secrets read anew. A source keeps a loop only where closing
would lose what the other side holds for it: an MQTT session, leases of messages that are not stored yet, links to other partitions.

The router asks for the next delivery only when it can store one. Until then the source gathers: a delivery is everything that
has come in since the last one, so that one commit takes many messages. A source bounds what it holds: it stops reading, or, where
the protocol has no flow control (MQTT QoS 0), drops and counts with `SourceContext.dropped`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
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
    """Called once, after the messages are safe, in the order of the deliveries. Does nothing on a connection that is gone."""
    receipt: bytes = b""
    """Kept by the spool beside the messages until they are acknowledged, and given back after a crash in
    `SourceContext.unacknowledged`, so that the source can distinguish a redelivered message from a new one."""
    confirmation: Confirmation | None = None
    """Given by a source that finds out when an acknowledgement has been read: the receipt is kept until it is confirmed."""


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
    """Ask for a commit without waiting for the interval: the sender sends nothing more before it gets acknowledgements."""
    dropped: Dropped
    connected: Callable[[bool, str], None]
    """Report whether the source is connected, and why not; for status and readiness."""
    unacknowledged: Sequence[Delivery] = ()
    """Deliveries that the spool holds and whose acknowledgement may not have reached the sender, oldest first."""
    state: Path | None = None
    """A folder for the source's own small files, kept over restarts; the source makes it. `None`: nothing is kept."""
    identity: str = ""
    """Stable over restarts with every kind of spool, so good for a client id that must be stable and unique. Empty: use `spool`."""
    probe: bool = False
    """True for `edgerouter check --connect`, possibly while the router runs: only find out whether the other side lets us in, and
    say so with `connected`. Take no messages, keep no session, disturb none: another client id, no subscription that stays, no
    status. A refusal may be raised as `Unavailable` from `deliveries`, so that the command need not wait."""


class Source(Configured[ConfigT], ABC):
    """A source. An object exists only while it is open."""

    @classmethod
    @abstractmethod
    def open(cls, config: ConfigT, context: SourceContext) -> AbstractAsyncContextManager[Self]:
        """Make the source ready and close it on exit.

        Raises:
            Unavailable: the other side cannot be reached, or does not let us in.
        """

    @abstractmethod
    def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what comes in, until cancelled.

        Raises:
            Unavailable: the connection cannot be made, or is lost; the router opens the source again after a back-off.
        """

    def stop(self) -> None:
        """Receive nothing more: `deliveries` yields what has arrived, then ends. Acknowledgements work until `open` is left."""
