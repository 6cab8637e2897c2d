"""Messages that an MQTT source has received and not yet seen acknowledged: batches, bounds, and acknowledgements."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Final, Protocol

from edgerouter.message import Message
from edgerouter.source import Confirmation, Delivery, Dropped
from edgerouter.sources.mqtt.drops import Drops
from edgerouter.sources.mqtt.fence import Unconfirmed

PUBACK: Final = b"\x40\x02"
PUBREC: Final = b"\x50\x02"
PUBCOMP: Final = b"\x70\x02"
"""First two bytes of an answer to a publish: packet type, and the length of the packet id; success needs no reason code."""

OVERHEAD: Final = 256
"""Bytes of memory that a message uses beyond those of its packet."""


class Batch:
    """Messages received together on one connection."""

    __slots__ = (
        "acks", "again", "answered", "confirmation", "connection", "done", "messages", "qos0_bytes", "received", "size", "unstored",
    )  # fmt: skip

    def __init__(self, connection: int) -> None:
        self.connection = connection
        self.messages: list[Message] = []
        self.acks = bytearray()
        """Answers to send once the messages are stored: 4 bytes for each message of QoS 1 and 2, in the order received."""
        self.unstored: list[int] = []
        """Offsets in `acks` of messages that are not stored: replays seen before."""
        self.again: tuple[int, bytearray] = (0, bytearray())
        """Connection on which some of the messages arrived again, and the answers for it."""
        self.size = 0
        """Bytes of the messages of QoS 1 and 2, which the broker waits for."""
        self.qos0_bytes = 0
        self.received = 0
        """Messages of QoS 1 and 2."""
        self.done = False
        self.answered = False
        """True once all of `acks` were sent."""
        self.confirmation = Confirmation()


class Connected(Protocol):
    """Connection on which messages arrive."""

    def send(self, acks: bytes) -> None:
        """Send acknowledgements at once."""

    def queue(self, acks: bytes) -> None:
        """Send acknowledgements at the next turn of the event loop; for use while bytes are being parsed."""

    def has_room(self) -> None:
        """Resume after an acknowledgement has freed capacity."""

    def asked(self) -> None:
        """Read what has come, if reading waited for the router to ask for messages."""

    def busy(self, *, with_messages: bool) -> None:
        """Record that the router has messages to store and asks again afterwards; or that it has none and waits for some."""


class Memory(Protocol):
    """Remembers stored messages, to recognise them when they arrive again."""

    def receipt(self, batch: Batch) -> bytes:
        """Build the receipt that the spool stores with a delivery."""

    def settled(self, batch: Batch, acks: bytes) -> None:
        """Record that a batch is stored, and the answers sent for it."""


class InFlight:
    """Holds received messages until they are stored, within bounds.

    A batch fills until it is taken, is acknowledged once it is stored, and confirmed once the broker has provably read that.
    After a reconnect, acknowledgements of earlier connections are void, except for messages that the broker has resent on the
    new one.
    """

    def __init__(
        self,
        *,
        max_messages: int,
        max_bytes: int,
        max_qos0_bytes: int,
        dropped: Dropped,
        max_unconfirmed: int | None = 20_000,
        source: str = "",
    ) -> None:
        self.source = source
        """Source name set on the messages."""
        self.unconfirmed: Unconfirmed[Batch] = Unconfirmed(max_unconfirmed, max_bytes)
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.max_qos0_bytes = max_qos0_bytes
        self._most = min(max_messages, self.unconfirmed.most)
        self.connection = 0
        """Number of the connection; an acknowledgement is valid for one of them."""
        self.current = Batch(0)
        self.open: deque[Batch] = deque()
        """Batches with messages to acknowledge, oldest first, without the current one."""
        self.unacknowledged = 0
        """Messages of QoS 1 and 2 that the broker waits for, in all batches."""
        self.unacknowledged_bytes = 0
        self.arrived = asyncio.Event()
        self.stopped = False
        self.drops = Drops(dropped)
        self._connected: Connected = _NOT_CONNECTED
        self._ready: deque[Batch] = deque()

    @property
    def is_full(self) -> bool:
        """True if the bounds are reached, and only acknowledgements free capacity: the connection stops reading."""
        return self.unacknowledged >= self._most or self.unacknowledged_bytes >= self.max_bytes

    @property
    def awaits_fence(self) -> bool:
        """True while no more is accepted until the broker has provably read acknowledgements."""
        room, room_bytes = self.room(1)
        return room <= 0 or room_bytes <= 0

    def room(self, beyond: int) -> tuple[int, int]:
        """Return messages and bytes that may be accepted, within `beyond` times the bounds of unacknowledged messages."""
        unconfirmed = self.unconfirmed
        return (
            min(self.max_messages * beyond, unconfirmed.most - unconfirmed.messages) - self.unacknowledged,
            min(self.max_bytes * beyond, unconfirmed.most_bytes - unconfirmed.bytes) - self.unacknowledged_bytes,
        )

    def count(self, batch: Batch, messages: int, size: int, qos0_bytes: int) -> None:
        """Count what was accepted into a batch.

        Args:
            batch: the present one.
            messages: of QoS 1 and 2, beside those counted before.
            size: their bytes.
            qos0_bytes: of all its messages of QoS 0.
        """
        batch.received += messages
        batch.size += size
        batch.qos0_bytes = qos0_bytes
        self.unacknowledged += messages
        self.unacknowledged_bytes += size

    @property
    def has_half_of_its_room(self) -> bool:
        """True if there is capacity to resume reading; half, so that reading does not stop and resume with each message."""
        return self.unacknowledged * 2 <= self._most and self.unacknowledged_bytes * 2 <= self.max_bytes

    def begin_connection(self, connected: Connected) -> None:
        """Receive and acknowledge messages on a new connection from now on."""
        self._close_current()
        self.connection += 1
        self.unconfirmed.connected()
        self.current = Batch(self.connection)
        self._connected = connected

    def end_connection(self) -> None:
        """Record the loss of the connection; acknowledgements are discarded."""
        self._close_current()
        self.connection += 1
        self.unconfirmed.disconnected()
        self.current = Batch(self.connection)
        self._connected = _NOT_CONNECTED

    def queue(self, acks: bytes) -> None:
        """Acknowledge resent messages on the current connection."""
        self._connected.queue(acks)

    def stop(self) -> None:
        """Accept no more messages."""
        self.stopped = True
        self.arrived.set()

    def take(self, memory: Memory) -> Delivery | None:
        """Return everything received on one connection since the last call; `None` if nothing was."""
        if not self._ready:
            connected = self._connected
            connected.asked()
            self._close_current()
            connected.busy(with_messages=bool(self._ready))
            if not self._ready:
                self.arrived.clear()
                return None
        batch = self._ready.popleft()
        acknowledge = partial(self._acknowledge, batch, memory)
        if not batch.received:
            return Delivery(batch.messages, acknowledge)
        return Delivery(batch.messages, acknowledge, memory.receipt(batch), batch.confirmation)

    def waiting(self) -> Iterator[Batch]:
        """Yield the batches that the broker waits for, oldest first."""
        yield from self.open
        if self.current.received:
            yield self.current

    @property
    def age(self) -> float:
        """Seconds since the oldest message that the broker waits for was received; 0 if it waits for none."""
        oldest = next((batch.messages[0].received_at for batch in self.waiting() if batch.messages), None)
        return 0.0 if oldest is None else max(0.0, time.time() - oldest / 1e9)

    def pass_over(self, ack: bytes) -> None:
        """Acknowledge a message of QoS 1 or 2 that is not stored, in order with its neighbours."""
        batch = self.current
        batch.unstored.append(len(batch.acks))
        batch.acks += ack
        batch.received += 1
        batch.size += OVERHEAD
        self.unacknowledged += 1
        self.unacknowledged_bytes += OVERHEAD
        self.arrived.set()

    def _close_current(self) -> None:
        batch = self.current
        if not batch.messages and not batch.acks:
            return
        self.current = Batch(self.connection)
        if batch.received:
            self.open.append(batch)
        if batch.messages:
            self._ready.append(batch)
        else:
            self._acknowledge(batch)

    def _acknowledge(self, batch: Batch, memory: Memory | None = None) -> None:
        if batch.done:
            return
        batch.done = True
        if batch.received:
            if self.open and self.open[0] is batch:
                self.open.popleft()
            else:
                self.open.remove(batch)
            self.unacknowledged -= batch.received
            self.unacknowledged_bytes -= batch.size
        acks = b""
        if batch.connection == self.connection:
            acks = bytes(batch.acks)
        elif batch.again[0] == self.connection:
            acks = bytes(batch.again[1])
        if batch.received:
            self.unconfirmed.add(batch, answered=batch.connection == self.connection)
        if memory is not None:
            memory.settled(batch, acks)
        if acks:
            self._connected.send(acks)
        self._connected.has_room()


class _NotConnected:
    def send(self, acks: bytes) -> None:
        """Drop acknowledgements: the broker resends their messages."""

    queue = send

    def has_room(self) -> None:
        """Do nothing: no connection reads."""

    asked = has_room

    def busy(self, *, with_messages: bool) -> None:
        """Do nothing: no connection reads."""


_NOT_CONNECTED: Final = _NotConnected()
