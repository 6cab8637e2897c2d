"""Messages and a context as the router would give them to a sink."""

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
    """A message as the spool gives it out: with a sequence, and so with an id and a time of its own."""
    received_at = RECEIVED_AT + sequence * 1_000_000
    return Message(topic, payload, received_at, qos, retained, properties, SPOOL, sequence)


def make_messages(payloads: Iterable[bytes], *, topic: str = "plant/line-1/temperature", start: int = 1) -> list[Message]:
    """One message for each payload, with consecutive sequences from `start`."""
    return [make_message(payload, topic=topic, sequence=sequence) for sequence, payload in enumerate(payloads, start)]


def make_context(name: str = "conformance") -> SinkContext:
    """What the router tells a sink when it opens it."""
    return SinkContext(name=name, host="edge-1", spool=SPOOL)
