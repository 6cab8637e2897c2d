"""The MQTT sink's configuration."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from edgerouter.mqtt.jwt import JwtConfig
from edgerouter.mqtt.last_will import LastWill
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.sink import SinkConfig
from edgerouter.sinks.mqtt.presets import ClearBlade
from edgerouter.sinks.mqtt.topic import TopicText


class MqttSinkConfig(BrokerSettings, SinkConfig):
    """Publishes messages to an MQTT broker, 3.1.1 or 5."""

    topic: TopicText = Field(default="{topic}", examples=["plant-north/{topic}"])
    """Topic to publish to, a template (docs/reference/templates.md) such as `sites/{host}/{topic}`. A topic that begins with `$`
    must be written out, as in `$aws/things/{host}/{topic}`; `$SYS` belongs to the broker."""
    qos: Literal[0, 1, 2] = 1
    """Quality of service. With 0 the broker confirms no message, and a lost connection loses those in flight. With 2 it passes each
    message on once, even across a lost connection; a restart of the router may still duplicate the messages in flight."""
    retain: Literal["never", "always", "same"] = "never"
    """Publish messages as retained: never, always, or if they were received as retained."""
    id_property: str | None = Field(default="edgerouter-id", examples=["message-id"])
    """User property that carries the message's id, so that consumers can deduplicate (MQTT 5)."""
    client_id: str | None = Field(default=None, min_length=1, max_length=65_535, examples=["edge-7-out"])
    """Client id; by default a new one for each start of the sink. Each client of a broker needs a unique one."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """MQTT version; `auto` tries 5 and falls back to 3.1.1 if the broker refuses it. Only 5 carries properties, and only
    with 5 a broker can report that it refused a message."""
    loop_guard: bool = True
    """Do not publish messages that would loop: those that a source received from the same broker and topic, those that
    carry the id of this router's spool in a user property, and, without properties (MQTT 3.1.1), those that a source received
    within a minute from where this router had published the same topic and payload. Such messages count as dropped (`loop`).
    Brokers are identified by host name and port. Without the guard `check` refuses a sink that publishes what a source receives."""
    jwt: JwtConfig | None = None
    """JSON Web Token as the password, made before each connect, in place of `password`; `username` is `unused` by default."""
    clearblade: ClearBlade | None = None
    """A device of ClearBlade IoT Core: gives `url`, `client_id`, `protocol`, `topic` (`/devices/DEVICE/events/{topic}`) and `jwt`,
    where they are not written."""
    last_will: LastWill | None = None
    """Message that the broker publishes when the connection is lost."""
    max_inflight: int = Field(default=100, ge=1, le=65_535)
    """Most messages in flight; fewer if an MQTT 5 broker says so, and at most 20 with QoS 2 and 3.1.1."""

    @model_validator(mode="before")
    @classmethod
    def _take_a_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("clearblade") is None:
            return data
        return {**ClearBlade.model_validate(data["clearblade"]).fields(), **data}

    @model_validator(mode="after")
    def _has_one_password(self) -> Self:
        if self.jwt is not None and (self.password is not None or self.password_file is not None):
            raise ValueError("`jwt` makes the password: leave `password` and `password_file` out")
        return self
