"""Abilities that a broker states in its CONNACK (MQTT 5.0, 3.2.2.3), and what follows from each for a source."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final, Self

from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.topics import split_share

QUIET: Final = 600.0
"""Seconds without a message on a shared subscription of 3.1.1, after which a broker that does not know such is suspected."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """Abilities of a broker; those not stated are assumed. A 3.1.1 broker states none.

    The topic alias maximum and the broker's maximum packet size and receive maximum concern what a client publishes: a source
    publishes no more than its status, one message at a time and without an alias.
    """

    maximum_qos: int = 2
    retain: bool = True
    wildcards: bool = True
    shared: bool = True
    session_expiry: int | None = None
    """Seconds, where the broker does not keep to what was asked for."""
    client_id: str | None = None
    """Where the broker assigned one."""

    @classmethod
    def from_connack(cls, properties: Any) -> Self:
        """Read the CONNACK's properties as paho gives them; `None` for 3.1.1."""
        return cls(
            getattr(properties, "MaximumQoS", 2),
            bool(getattr(properties, "RetainAvailable", 1)),
            bool(getattr(properties, "WildcardSubscriptionAvailable", 1)),
            bool(getattr(properties, "SharedSubscriptionAvailable", 1)),
            getattr(properties, "SessionExpiryInterval", None),
            getattr(properties, "AssignedClientIdentifier", None),
        )

    def why_not(self, topic_filter: str) -> str | None:
        """Return why a filter is not worth subscribing to: the broker might accept it and send nothing for ever."""
        group, plain = split_share(topic_filter)
        if group is not None and not self.shared:
            return "the broker says that it has no shared subscriptions; remove `share` and run one router, or use another broker"
        if not self.wildcards and any(character in plain for character in "+#"):
            return "the broker says that it has no subscriptions with wildcards; name each topic"
        return None

    def remarks(self, config: MqttSourceConfig, client_id: str) -> list[str]:
        """List what works less well than the configuration asks for."""
        found = []
        wanted = max(config.subscriptions.values(), default=0)
        if self.maximum_qos < wanted:
            found.append(f"the broker takes part in QoS {self.maximum_qos} at most: `qos: {wanted}` becomes that")
        if not self.retain and config.status_topic is not None:
            found.append("the broker keeps no retained messages: the status on `status_topic` is not kept for later subscribers")
        if not config.clean_session and self.session_expiry is not None and self.session_expiry < int(config.session_expiry):
            found.append(
                f"the broker keeps our session for {self.session_expiry} s only, not `session_expiry`: messages that come while the"
                " router is away for longer are lost"
            )
        if self.client_id is not None and self.client_id != client_id:
            found.append(f"the broker uses the client id {self.client_id!r} for us: it may not find our session again")
        return found


class SilenceWatch:
    """Suspects a 3.1.1 broker that takes `$share/...` for an ordinary topic, on which nothing is published: it cannot say so.

    Args:
        active: there is such a subscription.
    """

    def __init__(self, *, active: bool) -> None:
        self._active = active
        self._heard_at = time.monotonic()

    def heard(self) -> None:
        """Note that messages came."""
        self._active = False

    def is_suspicious(self) -> bool:
        """Return true once, when no message has come for a long time."""
        if self._active and time.monotonic() - self._heard_at >= QUIET:
            self._active = False
            return True
        return False
