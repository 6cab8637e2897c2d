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
_PROPERTIES = struct.Struct(">4sII")
_PROPERTIES_START = b"\x00\x53\x73\xd0"
"""The properties are a list32 with 10 fields: the id is the first, the creation time the last."""
_SHORT_ID = struct.Struct(">BB")
_HEAD = struct.Struct(">4sI4sIIBB")
"""Start of an event's data section, then of its properties, then of a short id: of nearly all events."""
_PROPERTIES_BYTES = 4 + _SHORT_ID.size + _TIMESTAMP.size
"""Counted in the properties beside the id and what stands between it and the creation time."""
_EVENT_BYTES = _PROPERTIES.size + _SHORT_ID.size + _TIMESTAMP.size + _DATA8.size
"""An event without its id, what stands between it and the creation time, application properties and payload."""
_LONGER = 3
"""More bytes for the length of an id or a payload over 255 bytes."""
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

    def sizes_of(self, messages: Sequence[Message], key: str | None = None) -> list[int]:
        """Return the bytes that each event adds to a batch, exactly."""
        shared = self._shared
        fixed = _EVENT_BYTES + len(_annotations(key))
        sizes = []
        for message in messages:
            number = len(message.spool) + len(str(message.sequence)) + 1 + len(message.part)
            if not message.spool.isascii():
                number = len(_id(message))
            length = len(message.payload)
            size = shared[message.topic, message.qos, message.retained, message.properties][2] + fixed + number + length
            size += (_LONGER if number > 255 else 0) + (_LONGER if length > 255 else 0)
            sizes.append(size + (_DATA32.size if size > 255 else _DATA8.size))
        return sizes

    def batch(self, messages: Sequence[Message], key: str | None = None) -> bytes:
        """Return the payload of one transfer. Every microsecond here counts a million times, so the loop calls little."""
        shared, annotations = self._shared, _annotations(key)
        parts = [] if key is None else [_DURABLE_HEADER, annotations]
        last, created = -1, b""
        for message in messages:
            payload = message.payload
            length = len(payload)
            number = f"{message.spool}-{message.sequence}{message.part}".encode("utf-8", "replace")  # as its id
            middle, application, both = shared[message.topic, message.qos, message.retained, message.properties]
            moment = message.received_at // 1_000_000
            if moment != last:  # messages that are read together share their millisecond
                last, created = moment, _TIMESTAMP.pack(0x83, moment)
            size = _EVENT_BYTES + both + len(number) + length + (_LONGER if length > 255 else 0)
            if size > 255 and len(number) < 256 and key is None:
                properties = _PROPERTIES_BYTES + len(middle) + len(number)
                head = _HEAD.pack(_DATA32_START, size, _PROPERTIES_START, properties, 10, 0xA1, len(number))
            else:
                head = _rare_head(size, annotations, len(number), len(middle))
            parts += (head, number, middle, created, application, _section(length), payload)
        return b"".join(parts)


def _rare_head(size: int, annotations: bytes, number: int, middle: int) -> bytes:
    """Return an event up to its id.

    Args:
        size: bytes of the event without annotations, and with a short id.
        annotations: those of the event.
        number: bytes of the id.
        middle: bytes between the id and the creation time.
    """
    longer = _LONGER if number > 255 else 0
    properties = _PROPERTIES.pack(_PROPERTIES_START, _PROPERTIES_BYTES + longer + middle + number, 10)
    start = struct.pack(">BI", 0xB1, number) if longer else bytes((0xA1, number))
    return b"".join((_section(size + longer + len(annotations)), annotations, properties, start))


def _section(length: int) -> bytes:
    """The start of a data section that holds this many bytes."""
    return _DATA32.pack(_DATA32_START, length) if length > 255 else _DATA8.pack(_DATA8_START, length)


def _id(message: Message) -> bytes:
    return message.id.encode(errors="replace")


def _annotations(key: str | None) -> bytes:
    """Message annotations with the partition key."""
    return b"" if key is None else _KEYED[key]


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
