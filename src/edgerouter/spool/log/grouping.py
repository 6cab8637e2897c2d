"""Deliveries on their way into the spool, and how they become chunks."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import structlog

from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool.log.chunk import MAX_BYTES, MAX_MESSAGES, NewChunk, Receipt

log = structlog.get_logger("edgerouter.spool")
Matchers = Mapping[int, Callable[[str], bool]]
"""True for a topic that a sink wants, by the sink's key."""
_topic = attrgetter("topic")


@dataclass(slots=True, eq=False)
class Append:
    """A delivery that waits to be stored."""

    source: str
    delivery: Delivery
    wanted: Mapping[int, int]
    """Number of its messages that each sink wants, by the sink's key."""
    size: int
    """Payload bytes."""
    routing: int
    """Version of the set of sinks that `wanted` was made for."""
    stored: asyncio.Future[None]
    only: int = 0
    """Key of the one sink that these messages are for; 0 = for all."""
    dead_letters: Sequence[tuple[int, str, str, int]] = ()
    """The dead letters that these messages were, and that are deleted in the same transaction."""

    async def until_stored(self, waiting: deque[Append]) -> None:
        """Return when the delivery is stored and acknowledged; it leaves the queue where the caller gives up."""
        try:
            await self.stored
        except asyncio.CancelledError:
            if self in waiting:
                waiting.remove(self)
            raise

    def acknowledge(self) -> None:
        """Acknowledge messages that are safe, or dropped by a policy, and release the call to `append`."""
        try:
            self.delivery.acknowledge()
        except Exception:
            # the source's mistake must not keep the deliveries behind it from being acknowledged
            log.exception("a source failed to acknowledge", source=self.source)
        if not self.stored.done():
            self.stored.set_result(None)


def payload_bytes(messages: Iterable[Message]) -> int:
    """Bytes of all payloads together."""
    return sum([len(message.payload) for message in messages])


def group(appends: Iterable[Append], matchers: Matchers) -> list[NewChunk]:
    """Join small deliveries and split large ones, so that chunks are neither tiny nor huge."""
    chunks: list[NewChunk] = []
    gathered: list[Message] = []
    wanted: dict[int, int] = {}
    receipts: list[Receipt] = []
    size = only = 0

    def close() -> None:
        nonlocal gathered, wanted, receipts, size
        if gathered:
            chunks.append(NewChunk(gathered, wanted, only, receipts))
            gathered, wanted, receipts, size = [], {}, [], 0

    for append in appends:
        messages = append.delivery.messages
        if append.only != only or len(gathered) + len(messages) > MAX_MESSAGES or size + append.size > MAX_BYTES:
            close()
            only = append.only
        if append.delivery.receipt:
            receipts.append(Receipt(append.source, len(gathered), len(messages), append.delivery.receipt))
        if len(messages) <= MAX_MESSAGES and append.size <= MAX_BYTES:
            gathered += messages
            size += append.size
            for key, count in append.wanted.items():
                wanted[key] = wanted.get(key, 0) + count
            continue
        for part in _split(messages):
            gathered = part
            wanted = _share(append, part, matchers)
            close()
    close()
    return chunks


def _split(messages: Sequence[Message]) -> Iterable[list[Message]]:
    part: list[Message] = []
    size = 0
    for message in messages:
        if part and (len(part) >= MAX_MESSAGES or size + len(message.payload) > MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(message)
        size += len(message.payload)
    yield part


def _share(append: Append, part: list[Message], matchers: Matchers) -> dict[int, int]:
    """Return the number of messages of a part of a delivery that each sink wants."""
    whole = len(append.delivery.messages)
    every = {key: len(part) for key, count in append.wanted.items() if count == whole}
    some = {key: matchers[key] for key, count in append.wanted.items() if 0 < count < whole and key in matchers}
    return every | counts(part, some)


def counts(messages: Iterable[Message], matchers: Matchers) -> dict[int, int]:
    """Return the number of these messages that each sink wants, by the sink's key; sinks that want none are left out."""
    topics = Counter(map(_topic, messages)).items() if matchers else ()
    counted = {key: sum([count for topic, count in topics if matches(topic)]) for key, matches in matchers.items()}
    return {key: count for key, count in counted.items() if count}
