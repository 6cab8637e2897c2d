"""Checks texts of a publish that a broker would end the connection for."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Final

from edgerouter.errors import Rejected
from edgerouter.message import Message, Properties
from edgerouter.mqtt.packets import encode_length
from edgerouter.mqtt.properties import encode_properties

_FORBIDDEN: Final = re.compile(r"[+#\x00\ud800-\udfff]")
_RISKY: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    + "".join(f"{chr(p * 0x10000 + 0xFFFE)}{chr(p * 0x10000 + 0xFFFF)}" for p in range(1, 17))
    + "]"
)
"""Control characters and non-characters: a broker may close the connection for them (MQTT 5.0, 1.5.4), and mosquitto does.
A message that ends the connection each time it is tried would block all others for ever."""


def has_forbidden(text: str) -> bool:
    """Return true if the text holds a wildcard, a NUL or half a character, which no topic of a publish holds."""
    return _FORBIDDEN.search(text) is not None


def check_text(text: str, what: str) -> None:
    """Refuse what ends the connection.

    Raises:
        Rejected: the text holds a control character or a non-character.
    """
    if _RISKY.search(text):
        raise Rejected(f"{what} holds a control character, for which brokers may close the connection")


def check_topic(topic: str, *, longest: int, most_levels: int) -> None:
    """Refuse a topic that a broker does not take.

    Args:
        topic: to publish to.
        longest: bytes of a topic.
        most_levels: levels of a topic.

    Raises:
        Rejected: MQTT or the broker does not allow to publish there.
    """
    if not topic:
        raise Rejected("the template gives an empty topic for this message")
    if has_forbidden(topic):
        raise Rejected("the topic holds a wildcard, a NUL or half a character, which MQTT does not allow in a publish")
    check_text(topic, "the topic")
    if len(topic) * 4 > longest and len(topic.encode()) > longest:
        raise Rejected(f"the topic is longer than {longest} bytes")
    if topic.count("/") >= most_levels:
        raise Rejected(f"the topic has more than {most_levels} levels, for which brokers may close the connection")


def message_properties(message: Message, id_property: str | None) -> bytes:
    """Encode the properties of MQTT 5 for a message, with what is left of its expiry.

    Args:
        message: to be published.
        id_property: user property that carries the message's id.

    Raises:
        Rejected: a property would end the connection.
    """
    given = message.properties
    if given is None:
        return _only_id(id_property, message.id) if id_property is not None else b"\x00"
    user = given.user
    if id_property is not None:
        user = (*user, (id_property, message.id))
    for pair in user:
        check_text(pair[0] + pair[1], "a user property")
    check_text((given.content_type or "") + (given.response_topic or ""), "the content type or response topic")
    expiry = given.expiry
    if expiry is not None:
        waited = max(0, time.time_ns() - message.received_at) // 1_000_000_000
        expiry = max(1, expiry - waited)
    try:
        return encode_properties(
            Properties(user, given.content_type, given.response_topic, given.correlation_data, expiry, given.payload_is_text)
        )
    except OverflowError:
        raise Rejected("a property is longer than 65,535 bytes, which MQTT does not allow") from None


def _only_id(name: str, value: str) -> bytes:
    """Encode the properties of a message that brought none."""
    check_text(value, "a user property")
    encoded = value.encode()
    prefix = _property_name(name)
    length = len(prefix) + 2 + len(encoded)
    if length < 128 and len(encoded) < 256:
        return b"%c%b\x00%c%b" % (length, prefix, len(encoded), encoded)
    return encode_length(length) + prefix + len(encoded).to_bytes(2) + encoded


@lru_cache(maxsize=64)
def _property_name(name: str) -> bytes:
    """Encode the beginning of a user property of this name, which the configuration gives."""
    check_text(name, "a user property")
    encoded = name.encode()
    return b"\x26" + len(encoded).to_bytes(2) + encoded
