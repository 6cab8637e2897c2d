"""One run of the MQTT source, without a network."""

from __future__ import annotations

import struct

from edgerouter import Delivery
from edgerouter.sources.mqtt.duplicates import DuplicateFilter, RetainedPolicy
from edgerouter.sources.mqtt.in_flight import InFlight
from edgerouter.sources.mqtt.redelivery import Redelivery
from edgerouter.sources.mqtt.state import SessionState
from edgerouter.sources.mqtt.stream import PublishStream


class Run:
    """One run of a source, without a network."""

    def __init__(self, state: SessionState, unacknowledged: list[Delivery] | None = None) -> None:
        self.sent = bytearray()
        self.state = state
        self.in_flight = InFlight(max_messages=1000, max_bytes=10**6, max_qos0_bytes=10**6, dropped=lambda *_: None)
        self.redelivery = Redelivery(state, self.in_flight, unacknowledged or [], lambda: None)
        self._duplicates = DuplicateFilter(self.in_flight, self.redelivery, RetainedPolicy("keep", {}))

    def send(self, acks: bytes) -> None:
        self.sent += acks

    queue = send

    def has_room(self) -> None: ...

    def asked(self) -> None: ...

    def busy(self, *, with_messages: bool) -> None: ...

    def connect(self, *, session_present: bool = True) -> None:
        self.in_flight.begin_connection(self)
        self._stream = PublishStream(
            self.in_flight, version5=False, duplicates=self._duplicates, other_packet=lambda *_: True, releases=lambda _: None
        )
        self.redelivery.connected(session_present=session_present)

    def disconnect(self) -> None:
        self.in_flight.end_connection()

    def receive(self, identifier: int, payload: bytes, *, again: bool = False, qos: int = 1, topic: bytes = b"t") -> None:
        body = struct.pack("!H", len(topic)) + topic + struct.pack("!H", identifier) + payload
        self._stream.feed(bytes((0x30 | qos << 1 | 8 * again, len(body))) + body)

    def take(self) -> Delivery:
        delivery = self.in_flight.take(self._duplicates)
        assert delivery is not None
        return delivery

    def payloads(self) -> list[bytes]:
        found: list[bytes] = []
        while delivery := self.in_flight.take(self._duplicates):
            found += [message.payload for message in delivery.messages]
        return found


def stored(count: int = 3, *, qos: int = 1) -> tuple[SessionState, list[Delivery]]:
    """A run that stored messages 1 to `count`, one delivery each, and crashed before the broker knew."""
    state = SessionState("broker", "client")
    run = Run(state)
    run.connect(session_present=False)
    deliveries = []
    for identifier in range(1, count + 1):
        run.receive(identifier, b"%d" % identifier, qos=qos)
        deliveries.append(run.take())
    return state, deliveries
