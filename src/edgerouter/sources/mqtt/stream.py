"""Parses bytes from the broker: publishes become messages in flight, every other packet goes to the MQTT client."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final, Protocol

from edgerouter.message import Message, Properties
from edgerouter.mqtt.limits import PacketLimits
from edgerouter.mqtt.packets import MalformedPacket, parse_header
from edgerouter.mqtt.properties import WIDEST, parse_properties
from edgerouter.sources.mqtt.drops import CUT, INTAKE_FULL, TOO_LARGE
from edgerouter.sources.mqtt.in_flight import OVERHEAD, PUBACK, PUBREC, InFlight

_RELEASES: Final = re.compile(rb"(?:\x62\x02..)++", re.DOTALL)
"""PUBRELs without reason codes: brokers send many in a row, an answer to each PUBREC of a batch.

Possessive, because a match that may be undone takes 16 bytes of memory for each byte.
"""
_TOPICS_CACHED: Final = 4096
_LONGEST_CACHED: Final = 256
"""Length in bytes beyond which a topic is decoded each time, so that the cache stays below 8 MB."""


class Duplicates(Protocol):
    """Recognises publishes received before: resent, or replayed because they are retained."""

    @property
    def watching(self) -> bool:
        """True while every publish of QoS 1 and 2 must be checked, not only marked ones."""

    def wants(self, message: Message, identifier: bytes, *, again: bool) -> bool:
        """Return True if the message must be stored; otherwise its acknowledgement is arranged."""


class PublishStream:
    """Splits a connection's bytes into packets.

    This is where the cost per message is decided: one pass over the bytes of one read, and no object but the message itself.

    Args:
        in_flight: destination of messages.
        version5: True if publishes have properties.
        duplicates: filters publishes that may have been received before.
        other_packet: handles first byte and body of every other packet; returns True if the connection is still usable.
        releases: handles PUBRELs of four bytes each.
        limits: bounds of a publish.
        ignores_messages: neither accept nor acknowledge messages.
    """

    def __init__(
        self,
        in_flight: InFlight,
        *,
        version5: bool,
        duplicates: Duplicates,
        other_packet: Callable[[int, bytes], bool],
        releases: Callable[[bytes], None],
        limits: PacketLimits = PacketLimits(),  # noqa: B008  (frozen)
        ignores_messages: bool = False,
    ) -> None:
        self.skipped = False
        """A message of QoS 1 or 2 was skipped for lack of capacity; the broker resends it after a reconnect."""
        self._ignores_messages = ignores_messages
        self._in_flight = in_flight
        self._version5 = version5
        self._duplicates = duplicates
        self._other_packet = other_packet
        self._releases = releases
        self._limits = limits
        self._held = bytearray()
        self._need = 0
        self._discard = 0
        self._discarded: tuple[str, bytes] | None = None
        self._topics: dict[bytes, str] = {}

    @property
    def holds_packets(self) -> bool:
        """True if there may be packets to parse once there is capacity."""
        return len(self._held) > 0 and len(self._held) >= self._need

    def feed(self, data: bytes, *, beyond: int = 1) -> None:
        """Parse the bytes of a read, within `beyond` times the bounds of messages in flight.

        Raises:
            MalformedPacket: this is not MQTT; the connection is unusable.
        """
        if self._discard and data:
            data = self._discard_from(data)
        held = self._held
        if not data and not self.holds_packets:
            return
        if len(held) + len(data) < self._need:
            held += data
            return
        joined = b"".join((held, data)) if held else data
        held.clear()
        held += joined[self._parse(joined, beyond) :]

    def _discard_from(self, data: bytes) -> bytes:
        """Drop the bytes of an oversized publish, and return the bytes after it."""
        gone = min(self._discard, len(data))
        self._discard -= gone
        if not self._discard:
            self._count_discarded()
        return data[gone:]

    def _begin_to_discard(self, data: bytes, at: int, start: int, stop: int) -> int:
        """Keep only the packet id of an oversized publish, for its acknowledgement; return the offset at which parsing resumes.

        Its bytes are never held together: each new attempt of the broker would need memory for them.
        """
        command, end = data[at], len(data)
        if command & 0xF0 != 0x30:
            raise MalformedPacket(f"a packet 0x{command:02x} of {stop - at} bytes")
        qos = command >> 1 & 3
        here = start + 2
        if here <= end:
            here += data[start] << 8 | data[start + 1]
        payload = here + 2 if qos else here
        if payload > stop or qos == 3:
            raise MalformedPacket("a publish shorter than its topic says, or of a QoS that does not exist")
        if payload > end:
            self._need = payload - at
            return at
        ack = ((PUBACK if qos == 1 else PUBREC) + data[here:payload]) if qos else b""
        self._discarded = (self._topic(data[start + 2 : here]), ack)
        if stop > end:
            self._discard = stop - end
            return end
        self._count_discarded()
        return stop

    def _count_discarded(self) -> None:
        if self._discarded is None or self._in_flight.stopped or self._ignores_messages:
            return
        topic, ack = self._discarded
        self._discarded = None
        self._in_flight.drops.count(topic, TOO_LARGE)
        if ack:
            # the broker would resend it for ever
            self._in_flight.pass_over(ack)

    @property
    def held(self) -> bytes:
        """Bytes read and not yet accepted."""
        return bytes(self._held)

    def _parse(self, data: bytes, beyond: int) -> int:
        """Return the offset of what cannot be parsed yet."""
        at = 0
        while True:
            at, start, stop = self._publishes(data, at, beyond)
            if not start:
                return at
            if (released := _RELEASES.match(data, at)) is not None:
                self._releases(released[0])
                stop = released.end()
            elif not self._other_packet(data[at], data[start:stop]):
                return len(data)
            at = stop

    def _publishes(self, data: bytes, at: int, beyond: int) -> tuple[int, int, int]:  # noqa: C901, PLR0912, PLR0915
        """Parse publishes; return where a packet of another kind and its body are, or where to resume, and zeros."""
        # long, because a call for each publish costs as much as all the rest
        in_flight, duplicates, version5, topics = self._in_flight, self._duplicates, self._version5, self._topics
        batch = in_flight.current
        append, acks = batch.messages.append, batch.acks
        stopped, watching = in_flight.stopped or self._ignores_messages, duplicates.watching
        room, room_bytes = in_flight.room(beyond)
        taken, taken_bytes, qos0_bytes, qos0_limit = 0, 0, batch.qos0_bytes, in_flight.max_qos0_bytes
        limit, source, now = self._limits.packet, in_flight.source, time.time_ns()
        end, self._need = len(data), 0
        try:
            while end - at >= 2:
                command, length, start = data[at], data[at + 1], at + 2
                if length > 127:
                    if start < end and (high := data[start]) < 128:
                        start, length = start + 1, length & 127 | high << 7
                    elif (header := parse_header(data, at)) is not None:
                        start, length = header
                    else:
                        break
                stop = start + length
                if stop - at > limit:
                    resume = self._begin_to_discard(data, at, start, stop)
                    if resume == at:
                        break
                    at = resume
                    continue
                if stop > end:
                    self._need = stop - at
                    break
                if command & 0xF0 != 0x30:
                    return at, start, stop
                qos = command >> 1 & 3
                full = not stopped and qos > 0 and (taken >= room or taken_bytes >= room_bytes)
                if full and beyond == 1:
                    break
                if stopped or full:
                    # far beyond the bounds: neither accepted nor acknowledged, so the broker keeps it
                    self.skipped, at = self.skipped or full, stop
                    continue
                size, at = stop - at + OVERHEAD, stop
                here = start + 2 + (data[start] << 8 | data[start + 1]) if length > 2 else stop
                raw = data[start + 2 : here]
                if qos:
                    identifier = data[here : here + 2]
                    here += 2
                if here + version5 > stop or qos == 3 or not raw:
                    raise MalformedPacket("a publish without a topic, shorter than its topic says, or of a QoS that does not exist")
                properties = None
                if version5 and not data[here]:
                    here += 1
                elif version5:
                    properties, here, cost = self._properties(data, here, stop, raw)
                    size += cost
                topic = topics.get(raw)
                if topic is None:
                    topic = self._topic(raw)
                    size += 0 if topic.isascii() else WIDEST * len(raw)
                message = Message(topic, data[here:stop], now, qos, command & 1 == 1, properties, "", 0, source)
                if command & 9 or watching or qos == 2:
                    if not duplicates.wants(message, identifier if qos else b"", again=command & 8 == 8):
                        continue
                    room, room_bytes = in_flight.room(beyond)
                if qos:
                    taken += 1
                    taken_bytes += size
                    acks += PUBACK if qos == 1 else PUBREC
                    acks += identifier
                elif qos0_bytes + size > qos0_limit:
                    in_flight.drops.count(topic, INTAKE_FULL)
                    continue
                else:
                    qos0_bytes += size
                append(message)
        finally:
            in_flight.count(batch, taken, taken_bytes, qos0_bytes)
            if batch.messages or acks:
                in_flight.arrived.set()
        return at, 0, 0

    def _properties(self, data: bytes, here: int, stop: int, raw: bytes) -> tuple[Properties | None, int, int]:
        """Return the properties of a publish, where its payload begins, and their bytes in memory."""
        properties, here, cost, cut = parse_properties(data, here, stop, self._limits)
        if cut:
            self._in_flight.drops.count(self._topic(raw), CUT)
        return properties, here, cost

    def _topic(self, raw: bytes) -> str:
        # one invalid character from a broker must not stop everything behind it
        topic = raw.decode(errors="replace")
        if len(raw) <= _LONGEST_CACHED:
            if len(self._topics) >= _TOPICS_CACHED:
                self._topics.clear()
            self._topics[raw] = topic
        return topic
