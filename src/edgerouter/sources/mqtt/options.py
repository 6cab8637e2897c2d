"""What the configuration says, in the words of the MQTT client."""

from __future__ import annotations

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgerouter.masking import protect
from edgerouter.mqtt.limits import PacketLimits
from edgerouter.sources.mqtt.config import NEVER_EXPIRES, MqttSourceConfig


def connect_properties(config: MqttSourceConfig, limits: PacketLimits) -> Properties:
    """MQTT 5 properties of the CONNECT."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types here
    properties.SessionExpiryInterval = 0 if config.clean_session else min(int(config.session_expiry), NEVER_EXPIRES)
    properties.ReceiveMaximum = config.receive_window
    properties.MaximumPacketSize = limits.packet
    return properties


def subscribe_options(config: MqttSourceConfig, qos: int) -> SubscribeOptions:
    """MQTT 5 options of a subscription."""
    # 1: replay retained messages only for a subscription that is new to the session; 2: never
    return SubscribeOptions(qos=qos, retainHandling=2 if config.retained == "drop" else 1)


def last_will(config: MqttSourceConfig) -> aiomqtt.Will | None:
    """What the broker publishes when the connection is lost."""
    if config.status_topic is not None:
        return aiomqtt.Will(config.status_topic, "offline", qos=1, retain=True)
    if config.last_will is not None:
        will = config.last_will
        return aiomqtt.Will(will.topic, will.payload, qos=will.qos, retain=will.retain)
    return None


def read_password(config: MqttSourceConfig) -> str | None:
    """The password, from its file as it is now. Reads a file: not for the event loop.

    Raises:
        ValueError: the file cannot be read.
    """
    if config.password_file is None:
        return config.password.get_secret_value() if config.password is not None else None
    try:
        password = config.password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{config.password_file}: {error.strerror}") from None
    protect(password)
    return password
