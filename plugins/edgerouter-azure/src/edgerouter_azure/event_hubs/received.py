"""An event as one of our messages: the body byte for byte, and what the sink azure-event-hubs put beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from edgerouter import Message, Properties
from edgerouter.receiving import ReceivedTopic

_OWN = frozenset({"topic", "qos", "retained"})
_QOS = frozenset({0, 1, 2})
_OFFSET, _SEQUENCE = b"x-opt-offset", b"x-opt-sequence-number"


class Position(NamedTuple):
    """Position of an event in its partition."""

    sequence: int
    offset: str


def position_of(event: Any) -> Position:
    """Return the position that the service gives for the event."""
    annotations: Mapping[Any, Any] = event.message_annotations or {}
    return Position(int(annotations[_SEQUENCE]), _text(annotations[_OFFSET]))


def is_of(event: Any, own: str) -> bool:
    """Return True if the message id has this prefix."""
    return (
        event.properties is not None
        and event.properties.message_id is not None
        and _text(event.properties.message_id).startswith(own)
    )


def message_of(event: Any, topic: ReceivedTopic, received_at: int) -> Message:
    """The message that an event holds."""
    given = event.application_properties
    attributes = {_text(name): value for name, value in given.items()} if given else {}
    texts = {name: _text(value) for name, value in attributes.items()}
    qos = attributes.get("qos")
    return Message(
        topic.of(texts),
        _body(event),
        received_at,
        qos=qos if isinstance(qos, int) and qos in _QOS else 1,
        retained=attributes.get("retained") is True,
        properties=_properties(event.properties, texts),
    )


def _body(event: Any) -> bytes:
    data = event.data
    if data is not None:
        return bytes(data) if isinstance(data, bytes | bytearray | memoryview) else b"".join([bytes(part) for part in data])
    value = event.value if event.sequence is None else event.sequence
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return value.encode() if isinstance(value, str) else json.dumps(value, default=_text).encode()


def _properties(of_event: Any, texts: Mapping[str, str]) -> Properties | None:
    user = tuple([(_name(name), value) for name, value in texts.items() if name not in _OWN])
    content_type = reply_to = correlation = None
    if of_event is not None:
        content_type, reply_to, correlation = of_event.content_type, of_event.reply_to, of_event.correlation_id
    if not user and content_type is None and reply_to is None and correlation is None:
        return None
    return Properties(
        user=user,
        content_type=_text(content_type) if content_type is not None else None,
        response_topic=_text(reply_to) if reply_to is not None else None,
        correlation_data=_bytes(correlation) if correlation is not None else None,
    )


def _name(name: str) -> str:
    """A user property's own name, where the sink had to give it another."""
    plain = name.removeprefix("user_")
    return plain if plain in _OWN else name


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode(errors="replace")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value).encode()


def newest(positions: Iterable[tuple[str, Position]]) -> dict[str, Position]:
    """By partition, the position that is farthest."""
    found: dict[str, Position] = {}
    for partition, position in positions:
        known = found.get(partition)
        if known is None or position.sequence > known.sequence:
            found[partition] = position
    return found
