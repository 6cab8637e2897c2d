"""The JSON of a Pub/Sub message, made by joining bytes: half of the CPU that gcloud-aio's dictionaries take."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from edgerouter import Message, Properties, Rejected, TopicCache

Attribute = Literal["id", "topic", "time", "retained", "properties"]
"""Attributes of a message, sent beside its payload."""

MAX_REQUEST_BYTES = 10_000_000
"""https://cloud.google.com/pubsub/quotas#resource_limits: publish request, total size."""
MAX_REQUEST_MESSAGES = 1000
MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_KEY_BYTES = 256
MAX_ATTRIBUTE_VALUE_BYTES = 1024
MAX_ORDERING_KEY_BYTES = 1024

REQUEST_START = b'{"messages":['
REQUEST_END = b"]}"

_OWN = ("id", "topic", "time", "retained", "content_type", "response_topic", "correlation_data")
_TIME_BYTES = len(',"time":"2026-11-20T10:00:00.123456Z"')
_FRAME_BYTES = len('{"data":"","attributes":{}},')
_json = msgspec.json.encode


class Envelope:
    """Renders messages for one sink, and knows their size beforehand.

    Args:
        attributes: what travels beside the payload.
        constant: attributes that every message gets.
    """

    def __init__(self, attributes: Collection[Attribute], constant: Mapping[str, str]) -> None:
        constant_json = b"".join([_member(name, value) for name, value in constant.items()])
        self._with_topic = with_topic = "topic" in attributes
        self._with_id = "id" in attributes
        self._with_time = "time" in attributes
        self._with_retained = "retained" in attributes
        self._with_properties = "properties" in attributes
        self._constant_names = frozenset(constant)
        self._second, self._stamp = -1, b""

        def fixed(topic: str) -> bytes:
            """Attributes shared by all messages of a topic."""
            return constant_json + _member("topic", topic) if with_topic else constant_json

        def user(properties: Properties) -> bytes:
            return b"".join([_member(*item) for item in _attributes_of(properties, self._constant_names).items()])

        always = len(constant) + with_topic + self._with_id + self._with_time

        def checked_user(about: tuple[Properties, bool]) -> bytes:
            properties, retained = about
            _check(_attributes_of(properties, self._constant_names), always + retained)
            return user(properties)

        def ordering(key: str) -> bytes:
            return b',"orderingKey":' + _text(key) if key else b""

        self._fixed = TopicCache(fixed)
        self._user = TopicCache(user)
        self._checked_user = TopicCache(checked_user)
        self._ordering = TopicCache(ordering)

    def size_of(self, message: Message, ordering_key: str) -> int:
        """Bytes of `encode`, with the comma that separates it from the next."""
        size = 4 * ((len(message.payload) + 2) // 3) + len(self._ordering[ordering_key]) + len(self._fixed[message.topic])
        if self._with_id:
            size += len(message.id) + 8
        if self._with_time:
            size += _TIME_BYTES
        if self._with_retained and message.retained:
            size += len(b',"retained":"true"')
        if self._with_properties and message.properties is not None:
            size += len(self._user[message.properties])
        return size + _FRAME_BYTES

    def encode(self, message: Message, ordering_key: str) -> bytes:
        """One element of `messages`.

        Raises:
            Rejected: Pub/Sub would refuse it.
        """
        attributes = self._fixed[message.topic]
        if len(attributes) > MAX_ATTRIBUTE_VALUE_BYTES and self._with_topic and _bytes(message.topic) > MAX_ATTRIBUTE_VALUE_BYTES:
            raise Rejected(f"the topic is longer than the {MAX_ATTRIBUTE_VALUE_BYTES} bytes of a Pub/Sub attribute")
        if self._with_id:
            attributes += b',"id":"%b"' % message.id.encode()
        if self._with_time:
            second, nanosecond = divmod(message.received_at, 1_000_000_000)
            if second != self._second:
                self._second, self._stamp = second, datetime.fromtimestamp(second, UTC).isoformat()[:19].encode()
            attributes += b',"time":"%b.%06dZ"' % (self._stamp, nanosecond // 1000)
        retained = self._with_retained and message.retained
        if retained:
            attributes += b',"retained":"true"'
        if self._with_properties and message.properties is not None:
            attributes += self._checked_user[message.properties, retained]
        if not attributes and not message.payload:
            raise Rejected("Pub/Sub takes no message that has neither a payload nor attributes")
        return b'{"data":"%b","attributes":{%b}%b}' % (
            b2a_base64(message.payload, newline=False),
            attributes[1:],
            self._checked_ordering(ordering_key),
        )

    def _checked_ordering(self, key: str) -> bytes:
        if len(key) > MAX_ORDERING_KEY_BYTES // 4 and _bytes(key) > MAX_ORDERING_KEY_BYTES:
            raise Rejected(f"the ordering key is longer than Pub/Sub's {MAX_ORDERING_KEY_BYTES} bytes")
        return self._ordering[key]


def check_constant(constant: Mapping[str, str]) -> Mapping[str, str]:
    """Refuse attributes of the configuration that Pub/Sub or we would refuse later.

    Raises:
        ValueError: what is wrong.
    """
    for name in constant:
        if name in _OWN or name.startswith("goog"):
            raise ValueError(f"an attribute cannot be called {name!r}: the name is taken")
    try:
        _check(constant, len(_OWN))
    except Rejected as error:
        raise ValueError(str(error)) from None
    return constant


def _check(attributes: Mapping[str, str], others: int) -> None:
    if len(attributes) + others > MAX_ATTRIBUTES:
        raise Rejected(f"more than Pub/Sub's {MAX_ATTRIBUTES} attributes")
    for name, value in attributes.items():
        if not name or _bytes(name) > MAX_ATTRIBUTE_KEY_BYTES:
            raise Rejected(f"an attribute's name is not of 1 to {MAX_ATTRIBUTE_KEY_BYTES} bytes: {name[:40]!r}")
        if _bytes(value) > MAX_ATTRIBUTE_VALUE_BYTES:
            raise Rejected(f"the value of attribute {name[:40]!r} is over Pub/Sub's {MAX_ATTRIBUTE_VALUE_BYTES} bytes")


def _attributes_of(properties: Properties, taken: Collection[str]) -> dict[str, str]:
    """MQTT 5 properties as attributes; values of a repeated name are joined by commas, as HTTP does."""
    attributes: dict[str, str] = {}
    for name, value in properties.user:
        key = f"user_{name}" if not name or name in _OWN or name in taken or name.startswith("goog") else name
        attributes[key] = f"{attributes[key]},{value}" if key in attributes else value
    if properties.content_type is not None:
        attributes["content_type"] = properties.content_type
    if properties.response_topic is not None:
        attributes["response_topic"] = properties.response_topic
    if properties.correlation_data is not None:
        attributes["correlation_data"] = b2a_base64(properties.correlation_data, newline=False).decode()
    return attributes


def _member(name: str, value: str) -> bytes:
    return b",%b:%b" % (_text(name), _text(value))


def _text(text: str) -> bytes:
    try:
        return _json(text)
    except UnicodeEncodeError:  # half a surrogate pair is not text in any encoding
        return _json(text.encode(errors="replace").decode())


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))
