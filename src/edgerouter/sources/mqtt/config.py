"""Configuration of the MQTT source."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from edgerouter.mqtt.last_will import LastWill
from edgerouter.mqtt.limits import LARGEST_PACKET, PacketLimits, default_packet_limit
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.section import Section
from edgerouter.source import SourceConfig
from edgerouter.topics import TopicFilter, TopicName, split_share
from edgerouter.units import ByteSize, Duration, parse_duration

NEVER_EXPIRES: Final = 0xFFFF_FFFF
"""Session expiry interval of a session that never expires (MQTT 5.0, 3.1.2.11.2)."""

Qos = Literal[0, 1, 2]


def _check_group(text: str) -> str:
    if not text or any(character in text for character in "/+#\0"):
        raise ValueError(f"the group of a shared subscription is not empty and holds no `/`, `+` or `#`: {text!r}")
    return text


ShareGroup = Annotated[
    str, AfterValidator(_check_group), WithJsonSchema({"type": "string", "minLength": 1, "pattern": r"^[^/+#\x00]+$"})
]


RetainedHandling: TypeAlias = Literal["keep", "drop", "once", "as_published"]
"""Values of `retained`."""


class Subscription(Section):
    """One topic filter, with an optional quality of service."""

    topic: TopicFilter = Field(examples=["debug/#"])
    """Topic filter."""
    qos: Qos | None = None
    """Highest quality of service; the source's `qos` by default."""


class Reconnect(Section):
    """Delays between connection attempts: exponential back-off with jitter, for ever."""

    first_delay: Duration = Field(default=1.0, gt=0)
    """Upper bound of the first delay; it doubles with each attempt."""
    max_delay: Duration = Field(default=30.0, gt=0)
    """Upper bound of every delay. Where no connection can be made, the bound is a tenth of the time that the broker has been away,
    and at least 2 s, if that is less."""


def _expiry(value: Any) -> Any:
    return NEVER_EXPIRES if value == "never" else parse_duration(value)


def _subscription(value: Any) -> Any:
    return {"topic": value} if isinstance(value, str) else value


class MqttSourceConfig(BrokerSettings, SourceConfig):
    """Receives messages from an MQTT broker, version 3.1.1 or 5."""

    topics: tuple[Annotated[Subscription, BeforeValidator(_subscription, json_schema_input_type=str | Subscription)], ...] = Field(
        min_length=1, examples=[["plant/#", {"topic": "debug/#", "qos": 0}]]
    )
    """Topic filters to subscribe to, each as text or as `{topic: ..., qos: ...}`."""
    qos: Qos = 1
    """Highest quality of service to receive with; 1 and 2 are acknowledged once the message is stored in the spool."""
    client_id: str | None = Field(default=None, min_length=1, max_length=65_535, examples=["edge-7"])
    """Client id; by default derived from the spool's id and the source's name, and so stable and unique. With a spool of type
    `memory`, which has a new id at each start, it is derived from `host`, `spool.path` and the source's name: routers that share
    these, and containers whose host name changes, need a `client_id`."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """MQTT version; `auto` tries 5 and falls back to 3.1.1 if the broker refuses it or disconnects. The version that the
    broker accepted is remembered, across restarts too."""
    reconnect: Reconnect = Reconnect()
    """Delays between connection attempts."""
    clean_session: bool = False
    """Start without a session each time. The broker then keeps nothing while the router is away: messages are lost."""
    session_expiry: Annotated[Duration, BeforeValidator(_expiry, json_schema_input_type=Duration | Literal["never"])] = Field(
        default=7 * 86_400.0, le=NEVER_EXPIRES
    )
    """Time for which the broker keeps the session while the router is away, or `never` for a session that does not expire (MQTT 5;
    with 3.1.1 the broker decides)."""
    receive_maximum: int = Field(default=2000, ge=1, le=65_535)
    """Most unacknowledged messages of QoS 1 and 2 that the broker may send (MQTT 5)."""
    broker_window: int = Field(default=20, ge=1)
    """Unacknowledged messages after which a 3.1.1 broker is assumed to wait for the router, until it sends more; mosquitto's
    `max_inflight_messages`."""
    max_unacknowledged: int = Field(default=10_000, ge=1)
    """Router's bound of unacknowledged messages of QoS 1 and 2, for brokers that exceed their window."""
    max_unacknowledged_bytes: ByteSize = Field(default=32 * 1024**2, ge=1024)
    """Router's bound of their bytes; twice as many are read ahead in search of an answer that follows them."""
    max_unconfirmed: int = Field(default=20_000, ge=1, le=30_000)
    """Most messages of QoS 1 and 2 accepted beyond the last acknowledgement that the broker has provably read. At most this number
    may arrive twice after a crash of the router, and only if they cannot be recognised. The router reconnects each time a broker
    that sends its backlog regardless of its window, such as mosquitto before 2.0.13, reaches this number: small numbers are
    slow."""
    max_pending_bytes: ByteSize = Field(default=16 * 1024**2, ge=1024)
    """Most bytes of QoS 0 messages waiting to be stored; messages beyond it are dropped and counted, because QoS 0 has no flow
    control."""
    max_message_bytes: ByteSize | None = Field(default=None, ge=1024, le=LARGEST_PACKET, examples=["1MiB"])
    """Largest message to accept, with its topic and properties; by default 32 MiB, or a sixteenth of the memory that the process
    may use (control groups included), if that is less. An MQTT 5 broker learns the bound and sends none that is larger. From
    others a larger one is discarded while it streams by, acknowledged, counted as dropped (`too_large`) and logged."""
    max_user_properties: int = Field(default=1000, ge=0, le=100_000)
    """Most user properties of a message (MQTT 5). Those beyond are cut off, and logged; the message itself is kept."""
    max_user_property_bytes: ByteSize = Field(default=256 * 1024, ge=1024, le=LARGEST_PACKET)
    """Most bytes of a message's properties (MQTT 5). Those beyond are cut off, and logged; the message itself is kept."""
    share: ShareGroup | None = Field(default=None, examples=["routers"])
    """Group of a shared subscription: the broker distributes the messages over all clients of the group (`$share/GROUP/...`).
    RabbitMQ, NATS and aedes do not support them: an MQTT 5 broker reports it, and the source stays disconnected with that reason.
    A 3.1.1 broker cannot report it and sends nothing: after ten minutes without a message the log warns."""
    retained: RetainedHandling = "keep"
    """Handling of messages that the broker replays because they are retained: store each time, never, or only if the content
    differs from the last one stored for the topic. `as_published` stores each time too, and also marks as retained what is
    published as such meanwhile, for a sink that publishes it so (`retain: same`); MQTT 5 only, and `expect` does
    not count such a message."""
    last_will: LastWill | None = None
    """Message that the broker publishes when the connection is lost."""
    status_topic: TopicName | None = Field(default=None, examples=["routers/edge-7"])
    """Publish `online` here, retained, after connecting, and `offline` when stopping or, by last will, when the connection is
    lost."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.last_will is not None and self.status_topic is not None:
            raise ValueError("a connection has one last will: `last_will` and `status_topic` exclude each other")
        if self.share is not None and any(split_share(each.topic)[0] is not None for each in self.topics):
            raise ValueError("`share` is given, so `topics` hold no $share")
        wanted: dict[str, int | None] = {}
        for each in self.topics:
            if wanted.setdefault(each.topic, each.qos) != each.qos:
                raise ValueError(f"`topics` hold {each.topic!r} twice, with different `qos`")
        if self.retained == "as_published" and self.protocol == "3.1.1":
            raise ValueError("`retained: as_published` needs MQTT 5: with 3.1.1 a broker sends live messages without that mark")
        if self.reconnect.max_delay < self.reconnect.first_delay:
            raise ValueError("`reconnect.max_delay` is less than `reconnect.first_delay`")
        return self

    @property
    def window(self) -> int:
        return min(self.broker_window if self.protocol == "3.1.1" else self.receive_maximum, self.receive_window)

    @property
    def receive_window(self) -> int:
        """Receive maximum to send to the broker."""
        return min(self.receive_maximum, self.max_unacknowledged, self.max_unconfirmed)

    @property
    def limits(self) -> PacketLimits:
        """Bounds of a publish. Reads files for the default: not for the event loop."""
        packet = default_packet_limit() if self.max_message_bytes is None else self.max_message_bytes
        return PacketLimits(packet, self.max_user_properties, self.max_user_property_bytes)

    @property
    def shares(self) -> bool:
        """True if a subscription is shared with other clients."""
        return any(split_share(each)[0] is not None for each in self.subscriptions)

    @property
    def subscriptions(self) -> dict[str, int]:
        """Filters to subscribe to, in the form sent to the broker, with their quality of service."""
        prefix = f"$share/{self.share}/" if self.share is not None else ""
        return {prefix + each.topic: self.qos if each.qos is None else each.qos for each in self.topics}
