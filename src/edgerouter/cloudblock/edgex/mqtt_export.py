"""Export over MQTT: `MQTTSend` and `MQTTSecretSend` of EdgeX 1.3, `MQTTExport` of its later versions.

https://github.com/edgexfoundry/app-service-configurable, res/mqtt-export; app-functions-sdk-go, configurable.go
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from edgerouter.cloudblock.edgex.values import FUNCTIONS, Given, begin_with, flag, listed, literal, number, seconds
from edgerouter.variables import FromVariable

SINK: Final = "mqtt-export"
_SEND: Final = f"{FUNCTIONS}MQTTSEND_"
_TO: Final = f"{_SEND}ADDRESSABLE_"
_HOW: Final = f"{_SEND}PARAMETERS_"
_SECRET_SEND: Final = f"{FUNCTIONS}MQTTSECRETSEND_PARAMETERS_"
_EXPORT: Final = f"{FUNCTIONS}MQTTEXPORT_PARAMETERS_"
_SCHEMES: Final = {
    "tcp": "mqtt",
    "mqtt": "mqtt",
    "tcps": "mqtts",
    "ssl": "mqtts",
    "tls": "mqtts",
    "mqtts": "mqtts",
    "ws": "ws",
    "wss": "wss",
}
_SECURE: Final = frozenset({"mqtts", "wss"})
_OURS: Final = "EDGEROUTER__SINKS__MQTT_EXPORT__"
_TOPIC: Final = "edgex-events"
_EXPORT_TOPIC: Final = "edgex-export"
"""Topics of the profile `mqtt-export`, before and since 2.0."""
_BY_URL: Final = (
    *("BROKERADDRESS", "TOPIC", "CLIENTID", "QOS", "RETAIN", "SKIPVERIFY", "AUTHMODE"),
    *("SECRETPATH", "SECRETNAME", "AUTORECONNECT", "PERSISTONERROR"),
)
_TIMES: Final = ("KEEPALIVE", "CONNECTTIMEOUT")
_WILL: Final = ("WILLENABLED", "WILLTOPIC", "WILLPAYLOAD", "WILLQOS", "WILLRETAINED")
_BEFORE: Final = ("MAXRECONNECTINTERVAL", "PRECONNECT", "PRECONNECTRETRYCOUNT", "PRECONNECTRETRYINTERVAL")
"""About connecting, which the sink does by itself."""
_ALWAYS: Final = ("AUTORECONNECT", "PERSISTONERROR")

NAMES: Final = {
    "MQTTSEND": (
        *(_TO + name for name in ("ADDRESS", "PORT", "PROTOCOL", "PATH", "PUBLISHER", "USER", "PASSWORD", "TOPIC")),
        *(_HOW + name for name in ("QOS", "KEY", "CERT", "SKIPVERIFY", "RETAIN", *_ALWAYS)),
    ),
    "MQTTSECRETSEND": tuple(_SECRET_SEND + name for name in _BY_URL),
    "MQTTEXPORT": tuple(_EXPORT + name for name in (*_BY_URL, *_TIMES, *_WILL, *_BEFORE)),
}
"""Variables by function."""


def send(given: Given) -> dict[str, Any]:
    """Return the sink that `MQTTSend` describes."""
    host = _TO + "ADDRESS"
    if host not in given:
        raise ValueError(f"{host}: is missing; set it to the host of the broker to export to")
    scheme = _scheme(_TO + "PROTOCOL", given.get(_TO + "PROTOCOL", "tcp"))
    name = given[host]
    port = number(given, _TO + "PORT", 1883, 65_535)
    path = given.get(_TO + "PATH", "") if scheme in ("ws", "wss") else ""
    address = f"[{name}]" if ":" in name else name
    sink = {"type": "mqtt", "url": FromVariable(host, f"{scheme}://{address}:{port}{path}")}
    sink |= _fields(given, {"client_id": _TO + "PUBLISHER", "username": _TO + "USER"})
    if _TO + "PASSWORD" in given:
        sink["password"] = FromVariable(_TO + "PASSWORD", given[_TO + "PASSWORD"], secret=True)
    sink |= _topic(given, _TO + "TOPIC", _TOPIC)
    sink |= _delivery(given, _HOW)
    certificate = _fields(given, {"cert": _HOW + "CERT", "key": _HOW + "KEY"})
    if len(certificate) == 1:
        raise ValueError(f"{_HOW}CERT, {_HOW}KEY: one is set without the other; set both or none")
    if certificate and scheme in _SECURE:
        insecure = flag(given, _HOW + "SKIPVERIFY")
        sink["tls"] = certificate | ({"insecure": FromVariable(_HOW + "SKIPVERIFY", value=True)} if insecure else {})
    return sink


def secret_send(given: Given) -> dict[str, Any]:
    """Return the sink that `MQTTSecretSend` describes."""
    return _by_url(given, _SECRET_SEND, _TOPIC)


def export(given: Given) -> dict[str, Any]:
    """Return the sink that `MQTTExport` describes."""
    sink = _by_url(given, _EXPORT, _EXPORT_TOPIC)
    sink |= seconds(given, {"keepalive": _EXPORT + "KEEPALIVE", "connect_timeout": _EXPORT + "CONNECTTIMEOUT"})
    if flag(given, _EXPORT + "WILLENABLED"):
        sink["last_will"] = {
            **_fields(given, {"topic": _EXPORT + "WILLTOPIC", "payload": _EXPORT + "WILLPAYLOAD"}),
            "qos": number(given, _EXPORT + "WILLQOS", 0, 2),
            "retain": flag(given, _EXPORT + "WILLRETAINED"),
        }
    topic = given.get(_EXPORT + "TOPIC", "")
    if "{" in topic:
        if literal(topic.replace("{receivedtopic}", "")) != topic.replace("{receivedtopic}", ""):
            raise ValueError(f"{_EXPORT}TOPIC: {{receivedtopic}} is the only placeholder; EdgeX's others come from the event")
        sink["topic"] = FromVariable(_EXPORT + "TOPIC", topic.replace("{receivedtopic}", "{topic}"))
    return sink


def _by_url(given: Given, prefix: str, topic: str) -> dict[str, Any]:
    name = prefix + "BROKERADDRESS"
    if name not in given:
        raise ValueError(f"{name}: is missing; set it to the URL of the broker to export to, such as tcps://broker:8883")
    scheme, separator, rest = given[name].partition("://")
    if separator:
        scheme = _scheme(name, scheme)
    sink = {"type": "mqtt", "url": FromVariable(name, f"{scheme}://{rest}" if separator else given[name], secret="@" in rest)}
    sink |= _fields(given, {"client_id": prefix + "CLIENTID"})
    sink |= _topic(given, prefix + "TOPIC", topic)
    sink |= _delivery(given, prefix)
    if scheme in _SECURE and flag(given, prefix + "SKIPVERIFY"):
        sink["tls"] = {"insecure": FromVariable(prefix + "SKIPVERIFY", value=True)}
    return sink


def _scheme(name: str, protocol: str) -> str:
    if protocol.lower() not in _SCHEMES:
        raise ValueError(f"{name}: unknown protocol; use one of {', '.join(_SCHEMES)}")
    return _SCHEMES[protocol.lower()]


def _topic(given: Given, name: str, default: str) -> dict[str, Any]:
    return {"topic": FromVariable(name, literal(given[name])) if name in given else default}


def _delivery(given: Given, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if prefix + "QOS" in given:
        found["qos"] = FromVariable(prefix + "QOS", number(given, prefix + "QOS", 1, 2))
    if flag(given, prefix + "RETAIN"):
        found["retain"] = FromVariable(prefix + "RETAIN", "always")
    for name in _ALWAYS:
        flag(given, prefix + name)
    return found


def _fields(given: Given, names: dict[str, str]) -> dict[str, Any]:
    return {field: FromVariable(name, given[name]) for field, name in names.items() if name in given}


def notes(given: Given) -> Iterator[str]:
    """Explain what is accepted and has no effect, or not the whole one."""
    prefixes = (_HOW, _SECRET_SEND, _EXPORT)
    always = [prefix + name for prefix in prefixes for name in (*_ALWAYS, *_BEFORE) if prefix + name in given]
    if always:
        yield f"{listed(always)} not needed: the sink always connects again, and the spool stores every message until it is sent"
    if _HOW + "SKIPVERIFY" in given and _HOW + "CERT" not in given:
        yield f"{_HOW}SKIPVERIFY has no effect without {_HOW}CERT and {_HOW}KEY, as in EdgeX: a broker's certificate is verified"
    if _HOW + "CERT" in given and _scheme(_TO + "PROTOCOL", given.get(_TO + "PROTOCOL", "tcp")) not in _SECURE:
        yield f"{listed([_HOW + 'CERT', _HOW + 'KEY'], 'have')} no effect without TLS, as in EdgeX; {_TO}PROTOCOL may be tcps"
    for prefix in (_SECRET_SEND, _EXPORT):
        if given.get(prefix + "AUTHMODE", "none").lower() != "none" and begin_with(given, prefix):
            yield (
                f"{prefix}AUTHMODE: its secrets were in EdgeX's secret store; set {_OURS}USERNAME and {_OURS}PASSWORD,"
                f" or {_OURS}TLS__CERT, {_OURS}TLS__KEY and {_OURS}TLS__CA"
            )
