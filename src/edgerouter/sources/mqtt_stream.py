"""Bytes from the broker into messages: publishes straight into the intake, every other packet to the MQTT client."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from edgerouter.message import Message
from edgerouter.sources.mqtt_intake import OVERHEAD, PUBACK, PUBREC, Intake
from edgerouter.sources.mqtt_properties import MalformedPacket, parse_properties

_TOPICS_CACHED: Final = 4096


class Admission(Protocol):
    """Decides about publishes that may have been here before: sent again, or replayed because they are retained."""

    @property
    def watching(self) -> bool:
        """Every publish of QoS 1 and 2 is of interest just now, not only those that are marked."""

    def admit(self, message: Message, identifier: bytes, *, again: bool) -> bool:
        """Whether to take the message in; if not, its acknowledgement is taken care of."""


class PublishStream:
    """Cuts a connection's bytes into packets.

    This is where the cost of a message is decided: one pass over what one read brought, and no object but the message itself.

    Args:
        intake: where messages go.
        version5: whether publishes hold properties.
        admission: asked about publishes that may have been here before.
        other_packet: gets the first byte and the body of every other packet; says whether the connection is still of use.
    """

    def __init__(self, intake: Intake, *, version5: bool, admission: Admission, other_packet: Callable[[int, bytes], bool]) -> None:
        self.skipped = False
        """A message of QoS 1 or 2 was passed over for want of room; the broker sends it again after a reconnect."""
        self._intake = intake
        self._version5 = version5
        self._admission = admission
        self._other_packet = other_packet
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 0
        self._topics: dict[bytes, str] = {}

    @property
    def holds_packets(self) -> bool:
        """There may be something to parse once there is room."""
        return self._have > 0 and self._have >= self._need

    def feed(self, data: bytes, *, beyond: int = 1) -> None:
        """Take in what was read, within `beyond` times the bounds of the intake.

        Raises:
            MalformedPacket: this is not MQTT; the connection is of no use any more.
        """
        if data:
            self._chunks.append(data)
            self._have += len(data)
        if not self.holds_packets:
            return
        joined = data if len(self._chunks) == 1 and data else b"".join(self._chunks)
        self._chunks.clear()
        rest = joined[self._parse(joined, beyond) :]
        self._have = len(rest)
        if rest:
            self._chunks.append(rest)

    def _parse(self, data: bytes, beyond: int) -> int:  # noqa: C901, PLR0912, PLR0915  (a call here costs as much as a message)
        intake, admission, version5, topics = self._intake, self._admission, self._version5, self._topics
        batch = intake.current
        append, acks = batch.messages.append, batch.acks
        stopped, watching = intake.stopped, admission.watching
        room = intake.max_messages * beyond - intake.unacknowledged
        room_bytes = intake.max_bytes * beyond - intake.unacknowledged_bytes
        taken = taken_bytes = 0
        qos0_bytes, qos0_limit = batch.qos0_bytes, intake.max_qos0_bytes
        now = time.time_ns()
        end = len(data)
        at = 0
        self._need = 0
        try:
            while end - at >= 2:
                command = data[at]
                length = data[at + 1]
                start = at + 2
                if length > 127:
                    length &= 127
                    shift = 7
                    while start < end and shift <= 21:
                        byte = data[start]
                        start += 1
                        length |= (byte & 127) << shift
                        if byte < 128:
                            break
                        shift += 7
                    else:
                        if shift > 21:
                            raise MalformedPacket("a packet's length is not a variable byte integer")
                        break
                stop = start + length
                if stop > end:
                    self._need = stop - at
                    break
                if command & 0xF0 != 0x30:
                    at = stop
                    batch.received += taken
                    batch.size += taken_bytes
                    batch.qos0_bytes = qos0_bytes
                    intake.unacknowledged += taken
                    intake.unacknowledged_bytes += taken_bytes
                    taken = taken_bytes = 0
                    if not self._other_packet(command, data[start:stop]):
                        return end
                    room = intake.max_messages * beyond - intake.unacknowledged
                    room_bytes = intake.max_bytes * beyond - intake.unacknowledged_bytes
                    stopped, watching = intake.stopped, admission.watching
                    continue
                if stopped:
                    at = stop
                    continue
                qos = command >> 1 & 3
                if qos and (taken >= room or taken_bytes >= room_bytes):
                    if beyond == 1:
                        break
                    # far beyond the bounds: not taken and not acknowledged, so still the broker's
                    self.skipped = True
                    at = stop
                    continue
                size = stop - at + OVERHEAD
                at = stop
                topic_start = start + 2
                here = topic_start + (data[start] << 8 | data[start + 1]) if length > 2 else stop
                raw = data[topic_start:here]
                if qos:
                    identifier = data[here : here + 2]
                    here += 2
                if here + version5 > stop or qos == 3 or not raw:
                    raise MalformedPacket("a publish without a topic, shorter than its topic says, or of a QoS that does not exist")
                properties = None
                if version5:
                    if data[here]:
                        properties, here = parse_properties(data, here, stop)
                    else:
                        here += 1
                message = Message(topics.get(raw) or self._topic(raw), data[here:stop], now, qos, command & 1 == 1, properties)
                if (command & 9 or watching or qos == 2) and not admission.admit(
                    message, identifier if qos else b"", again=command & 8 == 8
                ):
                    continue
                if qos:
                    taken += 1
                    taken_bytes += size
                    acks += PUBACK if qos == 1 else PUBREC
                    acks += identifier
                elif qos0_bytes + size > qos0_limit:
                    intake.drop(message.topic)
                    continue
                else:
                    qos0_bytes += size
                append(message)
        finally:
            batch.received += taken
            batch.size += taken_bytes
            batch.qos0_bytes = qos0_bytes
            intake.unacknowledged += taken
            intake.unacknowledged_bytes += taken_bytes
            if batch.messages or acks:
                intake.arrived.set()
        return at

    def _topic(self, raw: bytes) -> str:
        if len(self._topics) >= _TOPICS_CACHED:
            self._topics.clear()
        # a broker that lets a wrong character through must not stop everything behind it
        topic = self._topics[raw] = raw.decode(errors="replace")
        return topic
