"""Publishes as bytes, and a stream that cuts them into messages, without a network."""

from __future__ import annotations

from collections import Counter

from edgerouter import Message
from edgerouter.mqtt.limits import PacketLimits
from edgerouter.sources.mqtt.in_flight import InFlight
from edgerouter.sources.mqtt.stream import PublishStream
from support.mqtt_source import TakesAll

USUAL = PacketLimits()


class Sent:
    """A connection that keeps what is sent."""

    def __init__(self, sent: list[bytes]) -> None:
        self.send = self.queue = sent.append

    def has_room(self) -> None: ...

    def asked(self) -> None: ...

    def busy(self, *, with_messages: bool) -> None: ...


def make_in_flight(*, messages: int = 1000, size: int = 10**6, qos0: int = 10**6, dropped: Counter[str] | None = None) -> InFlight:
    counted = Counter[str]() if dropped is None else dropped

    def drop(topic: str, messages: int, reason: str) -> None:
        counted[topic if reason == "intake_full" else f"{reason} {topic}"] += messages

    return InFlight(max_messages=messages, max_bytes=size, max_qos0_bytes=qos0, dropped=drop)


def make_stream(
    in_flight: InFlight, *, version5: bool = False, limits: PacketLimits = USUAL
) -> tuple[PublishStream, list[tuple[int, bytes]]]:
    others: list[tuple[int, bytes]] = []

    def other(command: int, body: bytes) -> bool:
        others.append((command, body))
        return True

    def releases(packets: bytes) -> None:
        others.extend((packets[at], packets[at + 2 : at + 4]) for at in range(0, len(packets), 4))

    return PublishStream(
        in_flight, version5=version5, duplicates=TakesAll(), other_packet=other, releases=releases, limits=limits
    ), others


def taken(in_flight: InFlight) -> list[Message]:
    delivery = in_flight.take(TakesAll())
    return list(delivery.messages) if delivery is not None else []
