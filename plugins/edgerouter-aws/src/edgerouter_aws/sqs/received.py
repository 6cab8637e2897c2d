"""A message of SQS as one of ours: the body byte for byte, and what the sink aws-sqs put beside it."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any

from edgerouter import Message, Properties
from edgerouter.receiving import ReceivedTopic, received_properties
from edgerouter_aws.sqs.entry import EMPTY, ENCODING

_GZIP = 31  # zlib's window bits for a gzip header
_MOST_UNPACKED = 64 * 1024 * 1024
"""A message of SQS has 1 MiB; anything that expands beyond this is not a pack of the sink."""
_OWN = frozenset({"topic", "qos", "retained", "content_type", "response_topic", "correlation_data"})
_QOS = {"0": 0, "1": 1, "2": 2}


def message_of(entry: Mapping[str, Any], topic: ReceivedTopic, received_at: int) -> Message:
    """The message that an entry of a ReceiveMessage answer holds."""
    given: Mapping[str, Any] = entry.get("MessageAttributes") or {}
    payload, decoded = _payload(entry.get("Body", ""), _text(given.get(ENCODING)))
    if not given:
        return Message(topic.of({}), payload, received_at, qos=1)
    attributes = {name: _text(value) for name, value in given.items()}
    if decoded:
        del attributes[ENCODING]
    return Message(
        topic.of(attributes),
        payload,
        received_at,
        qos=_QOS.get(attributes.get("qos", ""), 1),
        retained=attributes.get("retained") == "true",
        properties=_properties(attributes, given),
    )


def _payload(body: str, encoding: str) -> tuple[bytes, bool]:
    """The payload, and whether `encoding` was undone; a body that is not what it says stays as it is."""
    raw = body.encode(errors="surrogatepass")
    try:
        if encoding == "base64":
            return base64.b64decode(raw, validate=True), True
        if encoding == "empty" and body == EMPTY:
            return b"", True
        if encoding == "gzip+base64":
            unpacker = zlib.decompressobj(_GZIP)
            unpacked = unpacker.decompress(base64.b64decode(raw, validate=True), _MOST_UNPACKED)
            if unpacker.eof:
                return unpacked, True
    except (binascii.Error, zlib.error):
        return raw, False
    return raw, False


def _properties(attributes: Mapping[str, str], given: Mapping[str, Any]) -> Properties | None:
    user = tuple([(name, value) for name, value in attributes.items() if name not in _OWN])
    correlation = given.get("correlation_data")
    return received_properties(attributes, user, _bytes(correlation) if correlation is not None else None)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value["StringValue"]) if "StringValue" in value else _bytes(value).decode(errors="replace")


def _bytes(value: Any) -> bytes:
    return bytes(value["BinaryValue"]) if "BinaryValue" in value else str(value.get("StringValue", "")).encode()
