"""The message bus on MQTT as a source, from the variables of EdgeX 1.3, 2 and 3 or later."""

from __future__ import annotations

from typing import Any, Final

from edgerouter.cloudblock.edgex.values import Given, flag, number, seconds
from edgerouter.variables import FromVariable

SOURCE: Final = "edgex"
_DEFAULT: Final = "mqtt://localhost:1883"
_TOPIC: Final = "edgex/events/#"
_OLD_TOPIC: Final = "events"
_BUS: Final = "MESSAGEBUS_"
_BUS_2: Final = "TRIGGER_EDGEXMESSAGEBUS_"
_EXTERNAL: Final = "TRIGGER_EXTERNALMQTT_"
_TOPICS: Final = "TRIGGER_SUBSCRIBETOPICS"
_HOSTS: Final = (_BUS, f"{_BUS_2}SUBSCRIBEHOST_", f"{_BUS}SUBSCRIBEHOST_")
"""Beginnings of the variables for host, port and protocol, the newest first."""
_OF_THE_BLOCK: Final = (
    *("RELAY_OUT_TOPIC", "LOCAL_MQTT_INPUT_TOPIC", "MQTT_INPUT_TOPIC", "CLOUD_BLOCK_INPUT_TOPIC"),
    *("LOCAL_MQTT_HOST", "MQTT_HOST"),
)
"""Variables of the cloud block that make a source: there is none of the message bus beside it unless it is named."""

_OWN: Final = (
    *(prefix + name for prefix in _HOSTS for name in ("HOST", "PORT", "PROTOCOL")),
    *(f"{_BUS}TYPE", f"{_BUS}BASETOPICPREFIX", f"{_BUS_2}TYPE"),
    *(f"{_BUS_2}SUBSCRIBEHOST_SUBSCRIBETOPICS", _TOPICS, "BINDING_SUBSCRIBETOPIC"),
    *(_EXTERNAL + name for name in ("URL", "CLIENTID", "QOS", "KEEPALIVE", "CONNECTTIMEOUT", "SKIPCERTVERIFY")),
)
NAMES: Final = (*_OWN, *_OF_THE_BLOCK)


def named(given: Given) -> bool:
    """Return True if a variable names the message bus, or the broker of the external trigger."""
    return any(prefix + "HOST" in given for prefix in _HOSTS) or f"{_EXTERNAL}URL" in given


def source(given: Given) -> dict[str, Any] | None:
    """Return the source; `None` where the cloud block's variables make one and none names the bus."""
    prefix = next((prefix for prefix in _HOSTS if prefix + "HOST" in given), _BUS)
    # that of 1.3 is ZeroMQ where nothing else is said
    read = named(given) and (prefix != _HOSTS[-1] or f"{_BUS}TYPE" in given)
    if not read and any(name in given for name in _OF_THE_BLOCK):
        return None
    if f"{_EXTERNAL}URL" in given:
        return _external(given)
    _demand_mqtt(given, old=prefix == _HOSTS[-1])
    url: Any = _DEFAULT
    if prefix + "HOST" in given:
        protocol = given.get(prefix + "PROTOCOL", "tcp").lower()
        if protocol not in ("tcp", "mqtt", "tcps", "ssl", "tls", "mqtts"):
            raise ValueError(f"{prefix}PROTOCOL: should be tcp or tcps: the message bus is read over MQTT")
        scheme = "mqtt" if protocol in ("tcp", "mqtt") else "mqtts"
        port = number(given, prefix + "PORT", 1883, 65_535)
        url = FromVariable(prefix + "HOST", f"{scheme}://{given[prefix + 'HOST']}:{port}")
    return {"type": "mqtt", "url": url, "topics": _topics(given, prefix)}


def _demand_mqtt(given: Given, *, old: bool) -> None:
    name = f"{_BUS_2}TYPE" if f"{_BUS_2}TYPE" in given else f"{_BUS}TYPE"
    kind = given.get(name, "zero" if old else "mqtt").lower()
    if kind != "mqtt":
        raise ValueError(
            f"{name}: the message bus must be on MQTT to be read from here, and is {kind!r};"
            " set it to mqtt here and in EdgeX's services, and the host and port to its broker"
        )


def _topics(given: Given, prefix: str) -> list[Any]:
    """Return the topics, which EdgeX 3 and later write without the prefix that all topics of the bus have."""
    for name in (f"{_BUS_2}SUBSCRIBEHOST_SUBSCRIBETOPICS", _TOPICS, "BINDING_SUBSCRIBETOPIC"):
        if name not in given:
            continue
        base = given.get(f"{_BUS}BASETOPICPREFIX", "edgex") + "/" if name == _TOPICS else ""
        topics = [topic.strip() for topic in given[name].split(",") if topic.strip()]
        return [FromVariable(name, topic if topic.startswith(base) else base + topic) for topic in topics]
    return [_OLD_TOPIC if prefix == _HOSTS[-1] else _TOPIC]


def _external(given: Given) -> dict[str, Any]:
    """Return the source that the external MQTT trigger describes."""
    name = f"{_EXTERNAL}URL"
    if _TOPICS not in given:
        raise ValueError(f"{_TOPICS}: is missing; set it to the topics to receive from {name}, with commas in between")
    url = given[name].replace("tcps://", "mqtts://", 1)
    topics = [FromVariable(_TOPICS, topic.strip()) for topic in given[_TOPICS].split(",") if topic.strip()]
    made: dict[str, Any] = {"type": "mqtt", "url": FromVariable(name, url, secret="@" in url), "topics": topics}
    if f"{_EXTERNAL}CLIENTID" in given:
        made["client_id"] = FromVariable(f"{_EXTERNAL}CLIENTID", given[f"{_EXTERNAL}CLIENTID"])
    if flag(given, f"{_EXTERNAL}SKIPCERTVERIFY"):
        made["tls"] = {"insecure": FromVariable(f"{_EXTERNAL}SKIPCERTVERIFY", value=True)}
    made |= seconds(given, {"keepalive": f"{_EXTERNAL}KEEPALIVE", "connect_timeout": f"{_EXTERNAL}CONNECTTIMEOUT"})
    if f"{_EXTERNAL}QOS" in given:
        made["qos"] = FromVariable(f"{_EXTERNAL}QOS", number(given, f"{_EXTERNAL}QOS", 1, 2))
    return made
