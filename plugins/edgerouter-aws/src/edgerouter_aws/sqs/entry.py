"""A message as an entry of SQS: a text body, attributes, and their size as SQS counts it."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from edgerouter import Message, Properties, Rejected, TopicCache
from edgerouter_aws.sqs.config import SqsConfig
from edgerouter_aws.sqs.queue import Entry

_ILLEGAL = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
"""SQS takes the characters of XML 1.0 and no others (SQS API reference, SendMessage)."""
_LEGAL_ASCII = bytes([*b"\t\n\r", *range(0x20, 0x80)])
_ILLEGAL_BYTES = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]")
_DOTS = re.compile(r"\.{2,}")
_MOST_ATTRIBUTES = 10
_LONGEST_NAME = 256
_DIGITS = tuple([f"{number:03}" for number in range(1000)])
"""Looked up, because formatting a number with zeros costs more than all else of a time."""
_TIME = "0000-00-00T00:00:00.000000Z"

ENCODING = "encoding"
"""Name of the attribute that says how a body stands for a payload."""
EMPTY = " "
"""The body of an empty payload, since SQS takes no empty body."""

_BASE64 = {"DataType": "String", "StringValue": "base64"}
_EMPTY = {"DataType": "String", "StringValue": "empty"}
_BASE64_SIZE = len(ENCODING) + len("String") + len("base64")
_EMPTY_SIZE = len(ENCODING) + len("String") + len("empty") + len(EMPTY)


def is_legal(text: str) -> bool:
    """Return True if SQS accepts this text."""
    return (text.isprintable() and text.isascii()) or _ILLEGAL.search(text) is None


def text_of(payload: bytes) -> str | None:
    """The payload as a body; `None` when it is empty, not UTF-8, or holds characters that SQS does not take."""
    if not payload.translate(None, _LEGAL_ASCII):  # found out in a tenth of the time of the search
        return payload.decode() or None
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    return text if _ILLEGAL_BYTES.search(payload) is None else None


def attribute(value: str) -> dict[str, Any]:
    """A text attribute; where SQS would not take the text, its UTF-8 bytes as a binary attribute."""
    if is_legal(value):
        return {"DataType": "String", "StringValue": value}
    return {"DataType": "Binary", "BinaryValue": value.encode(errors="replace")}


def time_of(message: Message) -> str:
    """ISO 8601 in UTC, to the microsecond."""
    micros = message.received_at // 1000
    return f"{_second(micros // 1_000_000)}.{_DIGITS[micros // 1000 % 1000]}{_DIGITS[micros % 1000]}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


# shared by entries; nothing changes them
_QOS = tuple({"DataType": "Number", "StringValue": str(qos)} for qos in range(3))
_RETAINED = tuple({"DataType": "String", "StringValue": text} for text in ("false", "true"))
_FIXED_SIZES = {"id": len("-"), "time": len(_TIME), "qos": 1, "retained": len("true")}
"""Least bytes of each value; an id has the spool's and a number as well."""


class Entries:
    """Makes entries from messages, by the configuration."""

    def __init__(self, config: SqsConfig) -> None:
        self._names: tuple[str, ...] = tuple(dict.fromkeys(config.attributes))
        self._topics: TopicCache[str, dict[str, Any]] = TopicCache(attribute)
        self._reject_binary = config.binary == "reject"
        self._user = config.user_properties
        self._has_user = bool(config.user_properties)
        self._topic, self._id, self._time, self._qos, self._retained = (
            name in self._names for name in ("topic", "id", "time", "qos", "retained")
        )
        self._others = tuple(name for name in self._names if name not in ("topic", *_FIXED_SIZES))
        self._fixed_size = sum(
            len(name) + len("Number" if name == "qos" else "String") + _FIXED_SIZES.get(name, 0)
            for name in self._names
            if name in ("topic", *_FIXED_SIZES)
        )

    def size_of(self, message: Message) -> int:
        """Bytes that SQS counts for this message: body, and attributes with their names and types."""
        payload = message.payload
        size = len(payload)
        if not payload or (payload.translate(None, _LEGAL_ASCII) and text_of(payload) is None):
            size = 4 * ((size + 2) // 3) + _BASE64_SIZE if size else _EMPTY_SIZE
        return size + self.attributes_size(message)

    def attributes_size(self, message: Message) -> int:
        """Bytes of all attributes but `encoding`."""
        size = self._fixed_size
        if self._id:
            size += len(message.spool) + len(str(message.sequence)) + len(message.part)
        if self._retained and not message.retained:
            size += 1
        if self._topic:
            size += len(message.topic) if message.topic.isascii() else len(message.topic.encode(errors="replace"))
        if message.properties is not None and (self._others or self._has_user):
            size += sum(
                len(name) + len(value["DataType"]) + len(value.get("BinaryValue") or value["StringValue"].encode())
                for name, value in self.attributes(message).items()
                if name not in self._names or name in self._others
            )
        return size

    def entry(self, message: Message) -> Entry:
        """The message as SQS takes it.

        Raises:
            Rejected: the payload is not text, and the user wants such messages rejected.
        """
        text = text_of(message.payload)
        attributes = self.attributes(message)
        if text is None:
            if not message.payload:
                text, attributes[ENCODING] = EMPTY, _EMPTY
            elif self._reject_binary:
                raise Rejected("the payload is not text that SQS takes, and the sink says `binary: reject`")
            else:
                text, attributes[ENCODING] = base64.b64encode(message.payload).decode(), _BASE64
        return {"MessageBody": text, "MessageAttributes": attributes}

    def attributes(self, message: Message) -> dict[str, Any]:
        """Return the message's attributes, user properties last; two places stay free for the encoding."""
        attributes: dict[str, Any] = {}
        if self._topic:
            attributes["topic"] = self._topics[message.topic]
        if self._id:
            attributes["id"] = {"DataType": "String", "StringValue": message.id}
        if self._time:
            attributes["time"] = {"DataType": "String", "StringValue": time_of(message)}
        if self._qos:
            attributes["qos"] = _QOS[message.qos]
        if self._retained:
            attributes["retained"] = _RETAINED[message.retained]
        if message.properties is not None:
            self._add_properties(attributes, message.properties)
        return attributes

    def _add_properties(self, attributes: dict[str, Any], properties: Properties) -> None:
        for name in self._others:
            value: str | bytes | None = getattr(properties, name)
            if value:
                attributes[name] = {"DataType": "Binary", "BinaryValue": value} if isinstance(value, bytes) else attribute(value)
        if self._has_user:
            for name, content in properties.user:
                if len(attributes) >= _MOST_ATTRIBUTES - 2:
                    break
                if content and (self._user is True or name in self._user):  # type: ignore[operator]  # True was asked first
                    attributes.setdefault(_attribute_name(name), attribute(content))


def _attribute_name(name: str) -> str:
    """A user property's name as SQS takes it."""
    legal = _DOTS.sub(".", _NOT_IN_NAMES.sub("_", name))[:_LONGEST_NAME].strip(".")
    if not legal or legal == ENCODING or legal.lower().startswith(("aws.", "amazon.")):
        legal = f"_{legal}"[:_LONGEST_NAME]
    return legal
