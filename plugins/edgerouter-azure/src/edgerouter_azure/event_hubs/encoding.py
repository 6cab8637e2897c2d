"""Messages as AMQP events, made by joining bytes: a tenth of the cost of the SDK's objects (docs/decisions/020).

The layout is AMQP 1.0 part 3.2: a batch is a message of format 0x80013700 whose data sections are whole messages.
https://learn.microsoft.com/azure/event-hubs/event-hubs-amqp-troubleshoot and AMQP 1.0, part 1 (types).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from edgerouter import Message, Properties, TopicCache

BATCH_FORMAT = 0x80013700
"""The message format of a batch of events."""
MAX_KEY_CHARACTERS = 128
"""https://learn.microsoft.com/azure/event-hubs/event-hubs-quotas: partition key"""
ENVELOPE_BYTES = 640
"""At most this much of a request with a partition key is not events: a header and a key of 128 characters."""

_DATA32 = struct.Struct(">4sI")
_DATA8 = struct.Struct(">4sB")
_DATA32_START, _DATA8_START = b"\x00\x53\x75\xb0", b"\x00\x53\x75\xa0"
_TIMESTAMP = struct.Struct(">Bq")
_KEY_SYMBOL = b"\xa3\x13x-opt-partition-key"
_DURABLE_HEADER = b"\x00\x53\x70\xc0\x02\x01\x41"
_NULL = b"\x40"
_PROPERTIES = struct.Struct(">4sIIBB")
_PROPERTIES_START = b"\x00\x53\x73\xd0"
_NO_PROPERTIES = Properties()
_OWN_NAMES = frozenset({"topic", "qos", "retained"})
_BY_FLAGS = {
    (qos, retained): b"\xa1\x03qos\x54" + bytes([qos]) + b"\xa1\x08retained" + (b"\x41" if retained else b"\x42")
    for qos in (0, 1, 2)
    for retained in (False, True)
}


class EventEncoder:
    """Encodes events for one sink, and knows their size beforehand.

    Args:
        attributes: pass topic, qos, the retained flag and MQTT 5 user properties as application properties.
        content_type: for messages that say none.
    """

    def __init__(self, *, attributes: bool, content_type: str | None) -> None:
        def shared(about: tuple[str, int, bool, Properties | None]) -> tuple[bytes, bytes, int]:
            topic, qos, retained, properties = about
            properties = properties or _NO_PROPERTIES
            application = _application_properties(topic, qos, retained, properties) if attributes else b""
            middle = _middle(properties, content_type)
            return middle, application, len(middle) + len(application)

        self._shared: TopicCache[tuple[str, int, bool, Properties | None], tuple[bytes, bytes, int]] = TopicCache(shared)
        """Of what many messages share: properties between id and time, application properties, bytes of both."""

    def size_of(self, message: Message, key: str | None = None) -> int:
        """Bytes that the event adds to a batch, exactly."""
        id_size = len(message.spool) + len(str(message.sequence)) + 1 + len(message.part)
        if not message.spool.isascii():
            id_size = len(_id(message))
        size = self._shared[message.topic, message.qos, message.retained, message.properties][2]
        size += _PROPERTIES_FRAME + (2 if id_size < 256 else 5) + id_size
        if key is not None:
            size += len(_annotations(key))
        length = len(message.payload)
        size += length + (8 if length > 255 else 5)
        return size + (8 if size > 255 else 5)

    def encode(self, message: Message, key: str | None = None) -> bytes:
        """The whole event, as it stands in a data section of a batch."""
        middle, application, _ = self._shared[message.topic, message.qos, message.retained, message.properties]
        number = _id(message)
        return b"".join(
            (
                b"" if key is None else _annotations(key),
                _properties_to_id(len(number), len(middle)),
                number,
                middle,
                _TIMESTAMP.pack(0x83, message.received_at // 1_000_000),
                application,
                _section(len(message.payload)),
                message.payload,
            )
        )

    def batch(self, messages: Sequence[Message], key: str | None = None) -> bytes:
        """The payload of one transfer."""
        parts = [] if key is None else [_DURABLE_HEADER, _annotations(key)]
        encode = self.encode
        for message in messages:
            event = encode(message, key)
            parts.append(_section(len(event)))
            parts.append(event)
        return b"".join(parts)


_PROPERTIES_FRAME = len(_PROPERTIES_START) + 8 + _TIMESTAMP.size


def _properties_to_id(id_size: int, middle_size: int) -> bytes:
    """The properties, as list32 with 10 fields of which the creation time is the last, up to the id's bytes."""
    size = 4 + middle_size + _TIMESTAMP.size + id_size
    if id_size < 256:
        return _PROPERTIES.pack(_PROPERTIES_START, size + 2, 10, 0xA1, id_size)
    return _PROPERTIES_START + struct.pack(">IIBI", size + 5, 10, 0xB1, id_size)


def _section(length: int) -> bytes:
    """The start of a data section that holds this many bytes."""
    return _DATA32.pack(_DATA32_START, length) if length > 255 else _DATA8.pack(_DATA8_START, length)


def _id(message: Message) -> bytes:
    return message.id.encode(errors="replace")


def _annotations(key: str) -> bytes:
    """Message annotations with the partition key."""
    return _KEYED[key]


_KEYED: TopicCache[str, bytes] = TopicCache(
    lambda key: b"\x00\x53\x72" + _compound(0xD1, [_KEY_SYMBOL, _string(key.encode(errors="replace"))])
)


def _middle(properties: Properties, content_type: str | None) -> bytes:
    """The properties from user-id to absolute-expiry-time: what stands between the id and the creation time."""
    reply_to, correlation, media = properties.response_topic, properties.correlation_data, properties.content_type or content_type
    fields = (
        _NULL, _NULL, _NULL,  # user-id, to, subject
        _NULL if reply_to is None else _string(reply_to.encode(errors="replace")),
        _NULL if correlation is None else _variable(0xA0, correlation),
        _NULL if media is None else _variable(0xA3, media.encode("ascii", errors="replace")),
        _NULL, _NULL,  # content-encoding, absolute-expiry-time
    )  # fmt: skip
    return b"".join(fields)


def _application_properties(topic: str, qos: int, retained: bool, properties: Properties) -> bytes:
    members = [_string(b"topic") + _string(topic.encode(errors="replace")), _BY_FLAGS[qos, retained]]
    user: dict[str, str] = {}
    for name, value in properties.user:
        # a map has each name once: values of a repeated name are joined by commas, as HTTP does
        key = f"user_{name}" if name in _OWN_NAMES else name
        user[key] = f"{user[key]},{value}" if key in user else value
    members += [_string(name.encode(errors="replace")) + _string(value.encode(errors="replace")) for name, value in user.items()]
    return b"\x00\x53\x74" + _compound(0xD1, members, count=2 * (3 + len(user)))


def _compound(code: int, members: Sequence[bytes], count: int | None = None) -> bytes:
    body = b"".join(members)
    return struct.pack(">BII", code, len(body) + 4, len(members) if count is None else count) + body


def _string(text: bytes) -> bytes:
    return _variable(0xA1, text)


def _variable(code: int, body: bytes) -> bytes:
    length = len(body)
    if length < 256:
        return bytes((code, length)) + body
    return bytes((code + 0x10,)) + length.to_bytes(4, "big") + body
