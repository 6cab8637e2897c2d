"""Abilities that a broker states in its CONNACK (MQTT 5.0, 3.2.2.3)."""

from __future__ import annotations

from typing import Any, Final, Self

import msgspec

_LARGEST_PACKET: Final = 268_435_455
"""Of the protocol (MQTT 5.0, 1.5.5)."""


class Abilities(msgspec.Struct, frozen=True):
    """Abilities of a broker; those not stated are assumed. A 3.1.1 broker states none."""

    maximum_qos: int = 2
    retain: bool = True
    wildcards: bool = True
    shared: bool = True
    session_expiry: int | None = None
    """Seconds, where the broker does not keep to what was asked for."""
    client_id: str | None = None
    """Client id that the broker assigned, if it did."""
    maximum_packet_size: int = _LARGEST_PACKET
    """Bytes of a packet that the broker takes."""
    receive_maximum: int = 65_535
    """Messages of QoS 1 and 2 that the broker takes before it has acknowledged any."""
    topic_alias_maximum: int = 0
    """Topic aliases that the broker takes."""

    @classmethod
    def from_connack(cls, properties: Any) -> Self:
        """Read the properties of a CONNACK as paho gives them; `None` for 3.1.1."""
        return cls(
            getattr(properties, "MaximumQoS", 2),
            bool(getattr(properties, "RetainAvailable", 1)),
            bool(getattr(properties, "WildcardSubscriptionAvailable", 1)),
            bool(getattr(properties, "SharedSubscriptionAvailable", 1)),
            getattr(properties, "SessionExpiryInterval", None),
            getattr(properties, "AssignedClientIdentifier", None),
            getattr(properties, "MaximumPacketSize", _LARGEST_PACKET),
            getattr(properties, "ReceiveMaximum", 65_535),
            getattr(properties, "TopicAliasMaximum", 0),
        )
