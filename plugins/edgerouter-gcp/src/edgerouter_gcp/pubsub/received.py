"""A message of Pub/Sub as one of ours: the data byte for byte, and what the sink gcp-pubsub put beside it."""

from __future__ import annotations

import binascii
from base64 import b64decode

import msgspec

from edgerouter import Message, Properties
from edgerouter.receiving import Leased, ReceivedTopic, received_properties

_OWN = frozenset({"topic", "retained", "content_type", "response_topic", "correlation_data"})
_RENAMED = frozenset({"id", "time", *_OWN})
"""Names of user properties before which the sink puts `user_`."""


class _PubsubMessage(msgspec.Struct):
    """As https://cloud.google.com/pubsub/docs/reference/rest/v1/PubsubMessage says."""

    messageId: str  # noqa: N815  (Google's name)
    data: str = ""
    attributes: dict[str, str] = msgspec.field(default_factory=dict)


class _Received(msgspec.Struct):
    ackId: str  # noqa: N815  (Google's name)
    message: _PubsubMessage


class _Pulled(msgspec.Struct):
    receivedMessages: list[_Received] = msgspec.field(default_factory=list)  # noqa: N815  (Google's name)


_pulled = msgspec.json.Decoder(_Pulled).decode


def read_pulled(answer: bytes, topic: ReceivedTopic, received_at: int, own: str | None = None) -> list[Leased]:
    """The messages of an answer to a pull.

    Args:
        answer: its JSON.
        topic: makes the messages' topics.
        received_at: nanoseconds since 1970-01-01 UTC.
        own: messages whose attribute `id` begins so are not to be stored.

    Raises:
        ValueError: the answer is not one of Pub/Sub.
    """
    return [
        Leased(
            each.message.messageId,
            each.ackId,
            None
            if own is not None and each.message.attributes.get("id", "").startswith(own)
            else _message_of(each.message, topic, received_at),
        )
        for each in _pulled(answer).receivedMessages
    ]


def _message_of(given: _PubsubMessage, topic: ReceivedTopic, received_at: int) -> Message:
    attributes = given.attributes
    payload = b64decode(given.data, validate=True)
    if not attributes:
        return Message(topic.of(attributes), payload, received_at, qos=1)
    return Message(
        topic.of(attributes),
        payload,
        received_at,
        qos=1,
        retained=attributes.get("retained") == "true",
        properties=_properties(attributes),
    )


def _properties(attributes: dict[str, str]) -> Properties | None:
    user = tuple([(_name(name), value) for name, value in attributes.items() if name not in _OWN])
    correlation = attributes.get("correlation_data")
    return received_properties(attributes, user, _bytes(correlation) if correlation is not None else None)


def _name(name: str) -> str:
    """A user property's own name, where the sink had to give it another."""
    plain = name.removeprefix("user_")
    return plain if plain in _RENAMED or plain.startswith("goog") else name


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()
