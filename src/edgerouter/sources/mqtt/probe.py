"""Configuration of the source for `check --connect`: subscribe as the router would, and disturb nothing."""

from __future__ import annotations

from edgerouter.sources.mqtt.config import MqttSourceConfig, Subscription
from edgerouter.topics import split_share

_SUFFIX = "-check"


def configure_probe(config: MqttSourceConfig) -> MqttSourceConfig:
    """Return a configuration that keeps no session, publishes nothing, and takes no message from a group of shared subscribers.

    QoS 0: no message has to be acknowledged.
    """
    topics = tuple(Subscription(topic=_apart(each.topic), qos=0) for each in config.topics)
    return config.model_copy(
        update={
            "clean_session": True,
            "topics": topics,
            "share": None if config.share is None else config.share + _SUFFIX,
            "retained": "drop",
            "status_topic": None,
            "last_will": None,
        }
    )


def _apart(topic_filter: str) -> str:
    group, plain = split_share(topic_filter)
    return topic_filter if group is None else f"$share/{group}{_SUFFIX}/{plain}"
