"""Meaning of a broker's answers for the messages: the reason codes of MQTT 5.0 (2.4) and 3.1.1 (3.2.2.3) in one table."""

from __future__ import annotations

from typing import Final

from edgerouter.errors import Rejected, Throttled, Unauthorized, Unavailable

LOST: Final = "the connection was lost"
"""Without a word of the broker."""
NOT_AUTHORIZED: Final = 135
PACKET_TOO_LARGE: Final = 149
TAKEN_OVER: Final = 142
"""Another client connected with the same client id."""
UNSUPPORTED_VERSION: Final = 132
"""The broker does not speak this version of MQTT."""

_NO_ANSWER: Final = 141  # how paho says that a keep-alive was not answered

_CONNECT_UNAUTHORIZED = {
    UNSUPPORTED_VERSION,
    133,  # client identifier not valid
    134,  # bad user name or password
    NOT_AUTHORIZED,
    138,  # banned
    140,  # bad authentication method
}
_THROTTLED = {147, 150, 151, 159}  # receive maximum, message rate, quota, connection rate
_FAILED = 128  # what is below is a success, known or not (MQTT 5.0, 2.4)
_REJECTED = {144, PACKET_TOO_LARGE, 153, 154, 155}  # topic, size, payload format, retain, quality of service
_NAMES = {
    128: "Unspecified error",
    131: "Implementation specific error",
    NOT_AUTHORIZED: "Not authorized",
    144: "Topic Name invalid",
    145: "Packet Identifier in use",
    146: "Packet Identifier not found",
    147: "Receive Maximum exceeded",
    PACKET_TOO_LARGE: "Packet too large",
    150: "Message rate too high",
    151: "Quota exceeded",
    152: "Administrative action",
    153: "Payload format invalid",
    154: "Retain not supported",
    155: "QoS not supported",
}  # MQTT 5.0, 3.4.2.1 and 3.5.2.1, and of a DISCONNECT those that some brokers answer with


def why_ended(by_broker: str | None, code: int) -> str:
    """Return why a connection ended.

    Args:
        by_broker: name of the reason code that the broker gave, if it disconnected.
        code: number of the reason code, by the broker or by paho.
    """
    if by_broker is not None:
        return f"the broker disconnected: {by_broker}"
    return "the broker does not answer" if code == _NO_ANSWER else LOST


def connect_refused(code: int, text: str, where: str) -> Unavailable:
    """Return the error for a CONNACK that reports a failure."""
    if code in _CONNECT_UNAUTHORIZED:
        return Unauthorized(f"{where} refuses the connection: {text}")
    if code in _THROTTLED:
        return Throttled(f"{where} refuses the connection: {text}")
    return Unavailable(f"{where} refuses the connection: {text}")


def disconnected(code: int | None, text: str, where: str) -> Unavailable | Rejected:
    """Return the error for messages that were in flight when the connection ended; `None`: the broker gave no reason code."""
    text = text.removeprefix("the broker disconnected: ")
    if code == PACKET_TOO_LARGE:
        return Rejected(f"{where} disconnected: {text}")
    if code == TAKEN_OVER:
        return Unauthorized(f"{where} disconnected: {text}: another client uses the same client id; give each its own")
    if code in _CONNECT_UNAUTHORIZED:
        return Unauthorized(f"{where} disconnected: {text}")
    if code in _THROTTLED:
        return Throttled(f"{where} disconnected: {text}")
    return Unavailable(f"{where}: {text}")


def not_taken(code: int, topic: str, where: str) -> Unavailable | Rejected | None:
    """Return the error for a message that was answered with this PUBACK or PUBREC; `None` when it was taken."""
    if code < _FAILED:
        return None
    name = _NAMES.get(code, f"reason code 0x{code:02X}, which MQTT does not define for a publish")
    what = f"{where} does not take messages for {topic!r}: {name}"
    if code in _REJECTED:
        return Rejected(what)
    if code == NOT_AUTHORIZED:
        return Unauthorized(what)
    if code in _THROTTLED:
        return Throttled(what)
    return Unavailable(what)
