"""The MQTT sink's configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.sink import SinkConfig
from edgerouter.sinks.mqtt.topic import TopicText


class MqttSinkConfig(BrokerSettings, SinkConfig):
    """Publishes messages to an MQTT broker, 3.1.1 or 5."""

    topic: TopicText = "{topic}"
    """Topic to publish to, a template (docs/reference/templates.md) such as `sites/{host}/{topic}`. A topic that begins with `$`
    has to be written out, as in `$aws/things/{host}/{topic}`; `$SYS` belongs to the broker."""
    qos: Literal[0, 1, 2] = 1
    """Quality of service. With 0 the broker confirms no message, and a lost connection loses what was under way. With 2 it passes
    each message on once, also when a lost connection is continued; a restart of the router may still double what was under way."""
    retain: Literal["never", "always", "same"] = "never"
    """Whether the broker keeps the last message of each topic: never, always, or where the message came in retained."""
    id_property: str | None = "edgerouter-id"
    """User property that carries the message's id, so that consumers can drop duplicates (MQTT 5)."""
    client_id: str | None = Field(default=None, min_length=1, max_length=65_535)
    """Client id; by default a new one for each start of the sink. Each client of a broker needs its own."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """MQTT version; `auto` tries 5 and falls back to 3.1.1 when the broker does not take it. Only 5 carries properties, and only
    with 5 a broker can say that it did not take a message."""
    loop_guard: bool = True
    """Do not publish what would circle: what a source received from the very broker and topic that it would be published to, what
    carries the id of this router's spool in a user property, and, where messages carry none (MQTT 3.1.1), what a source received
    within a minute from where this router had published the same topic and payload. Such messages count as dropped (`loop`).
    Brokers are told apart by host name and port. Without the guard `check` refuses a sink that publishes what a source receives."""
    max_inflight: int = Field(default=100, ge=1, le=65_535)
    """Most messages under way without a confirmation; fewer where an MQTT 5 broker says so, and at most 20 with QoS 2 and 3.1.1."""
