"""Builds messages and a context as the router would pass them to a sink."""

from __future__ import annotations

from collections.abc import Iterable

from edgerouter.message import Message, Properties
from edgerouter.sink import SinkContext

SPOOL = "5p00l"
RECEIVED_AT = 1_795_168_800_123_456_789
"""2026-11-20 10:00:00.123456789 UTC; message n is received n milliseconds later."""


def make_message(
    payload: bytes = b"21.5",
    *,
    topic: str = "plant/line-1/temperature",
    sequence: int = 1,
    qos: int = 1,
    retained: bool = False,
    properties: Properties | None = None,
) -> Message:
    """Build a message as the spool returns it: with a sequence, and so with an id and a distinct time."""
    received_at = RECEIVED_AT + sequence * 1_000_000
    return Message(topic, payload, received_at, qos, retained, properties, SPOOL, sequence)


def make_messages(payloads: Iterable[bytes], *, topic: str = "plant/line-1/temperature", start: int = 1) -> list[Message]:
    """Build one message per payload, with consecutive sequences from `start`."""
    return [make_message(payload, topic=topic, sequence=sequence) for sequence, payload in enumerate(payloads, start)]


def make_context(name: str = "conformance") -> SinkContext:
    """Build the context that the router passes to a sink when it opens it."""
    return SinkContext(name=name, host="edge-1", spool=SPOOL)
