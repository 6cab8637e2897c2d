"""Builds the contents of CONNECT from the source's configuration."""

from __future__ import annotations

from edgerouter.mqtt.connection import Options
from edgerouter.mqtt.last_will import Will
from edgerouter.mqtt.limits import PacketLimits
from edgerouter.mqtt.version import Version
from edgerouter.sources.mqtt.config import NEVER_EXPIRES, MqttSourceConfig


def connect_options(config: MqttSourceConfig, client_id: str, version: Version, limits: PacketLimits) -> Options:
    """Return the contents of the CONNECT."""
    return Options(
        client_id=client_id,
        version5=version == "5",
        clean=config.clean_session,
        session_expiry=0 if config.clean_session else min(int(config.session_expiry), NEVER_EXPIRES),
        receive_maximum=config.receive_window,
        maximum_packet_size=limits.packet,
        will=_will(config),
    )


def _will(config: MqttSourceConfig) -> Will | None:
    if config.status_topic is not None:
        return Will(config.status_topic, "offline", qos=1, retain=True)
    if (will := config.last_will) is not None:
        return Will(will.topic, will.payload, qos=will.qos, retain=will.retain)
    return None
