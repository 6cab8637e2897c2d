"""Consequences of a broker's abilities for a source, and detection of one that cannot state them."""

from __future__ import annotations

import time
from typing import Final

from edgerouter.mqtt.abilities import Abilities
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.topics import split_share

QUIET: Final = 600.0
"""Seconds without a message on a shared subscription of 3.1.1, after which the broker may not support such subscriptions."""


def why_not(abilities: Abilities, topic_filter: str) -> str | None:
    """Return the reason not to subscribe to a filter: the broker might accept it and send nothing for ever."""
    group, plain = split_share(topic_filter)
    if group is not None and not abilities.shared:
        return "the broker says that it has no shared subscriptions; remove `share` and run one router, or use another broker"
    if not abilities.wildcards and any(character in plain for character in "+#"):
        return "the broker says that it has no subscriptions with wildcards; name each topic"
    return None


def remarks(abilities: Abilities, config: MqttSourceConfig, client_id: str, *, version5: bool) -> list[str]:
    """List features that fall short of the configuration."""
    found = []
    wanted = max(config.subscriptions.values(), default=0)
    if abilities.maximum_qos < wanted:
        found.append(f"the broker takes part in QoS {abilities.maximum_qos} at most: `qos: {wanted}` becomes that")
    if not abilities.retain and config.status_topic is not None:
        found.append("the broker keeps no retained messages: the status on `status_topic` is not kept for later subscribers")
    if config.retained == "as_published" and not version5:
        found.append("the broker speaks MQTT 3.1.1: `retained: as_published` marks only the messages that it replays")
    if not config.clean_session and abilities.session_expiry is not None and abilities.session_expiry < int(config.session_expiry):
        found.append(
            f"the broker keeps our session for {abilities.session_expiry} s only, not `session_expiry`: messages that come while"
            " the router is away for longer are lost"
        )
    if abilities.client_id is not None and abilities.client_id != client_id:
        found.append(f"the broker uses the client id {abilities.client_id!r} for us: it may not find our session again")
    return found


class SilenceWatch:
    """Detects a 3.1.1 broker that treats `$share/...` as an ordinary topic, on which nothing is published: it cannot report this.

    Args:
        active: there is such a subscription.
    """

    def __init__(self, *, active: bool) -> None:
        self._active = active
        self._heard_at = time.monotonic()

    def heard(self) -> None:
        """Record that messages arrived."""
        self._active = False

    def is_suspicious(self) -> bool:
        """Return True once, when no message has arrived for a long time."""
        if self._active and time.monotonic() - self._heard_at >= QUIET:
            self._active = False
            return True
        return False
