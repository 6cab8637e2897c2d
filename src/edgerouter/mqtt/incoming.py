"""Messages that come in over a publisher's connection, for services that take one connection of a client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from edgerouter.message import Properties
from edgerouter.mqtt.limits import PacketLimits
from edgerouter.mqtt.packets import PUBACK, MalformedPacket
from edgerouter.mqtt.properties import parse_properties

_BOUNDS: Final = PacketLimits()


@dataclass(frozen=True, slots=True)
class Incoming:
    """One PUBLISH of the broker."""

    topic: str
    payload: bytes
    qos: int
    identifier: int
    """Packet id, for the acknowledgement; 0 with QoS 0."""
    retained: bool
    properties: Properties | None


class Connection(Protocol):
    """Connection that a message came in on."""

    def acknowledge(self, identifiers: list[int]) -> None:
        """Send the PUBACK of messages that are stored; does nothing once the connection is lost."""

    def answer(self, topic: str, payload: bytes) -> None:
        """Publish an answer with QoS 0."""

    def cut(self, reason: str) -> None:
        """End the connection; the broker sends again what is not acknowledged."""


class Subscriber(Protocol):
    """Receiver of the messages of a publisher's connections."""

    @property
    def filters(self) -> Mapping[str, int]:
        """Topic filters with their quality of service, 1 at most."""

    @property
    def session_expiry(self) -> int:
        """Seconds that the broker keeps the session while no connection stands (MQTT 5)."""

    @property
    def receive_maximum(self) -> int:
        """Most messages that the broker may leave unacknowledged (MQTT 5)."""

    def received(self, connection: Connection, incoming: Incoming) -> None:
        """Take a message; called from the event loop."""

    async def settled(self, connection: Connection) -> None:
        """Wait, for a bounded time, until what came in on a connection that ends is acknowledged."""


def parse_publish(command: int, body: bytes, *, version5: bool) -> Incoming:
    """Parse a PUBLISH.

    Raises:
        MalformedPacket: it is cut off, or has a QoS that was not subscribed with.
    """
    qos = command >> 1 & 3
    end = 2 + int.from_bytes(body[:2])
    at = end + (2 if qos else 0)
    if len(body) < at or end == 2 or qos > 1:
        raise MalformedPacket("a publish without a topic, shorter than its topic says, or of a QoS that was not asked for")
    properties = None
    if version5:
        properties, at, _, _ = parse_properties(body, at, len(body), _BOUNDS)
    identifier = int.from_bytes(body[end : end + 2]) if qos else 0
    return Incoming(body[2:end].decode(errors="replace"), body[at:], qos, identifier, bool(command & 1), properties)


def encode_pubacks(identifiers: list[int]) -> bytes:
    """Encode the acknowledgements of messages of QoS 1."""
    return b"".join([bytes((PUBACK, 2)) + identifier.to_bytes(2) for identifier in identifiers])
