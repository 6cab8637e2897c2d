"""Replay: messages that a sink has settled become pending again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from edgerouter.message import Message
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.position import Position


def replayable(
    ledgers: Ledgers,
    ledger: SinkLedger,
    chunk: Chunk,
    asked: Callable[[str], bool],
    *,
    since: int | None,
    until: int | None,
) -> list[Message]:
    """Return the messages of a chunk that a sink wanted, has settled, and that are asked for."""
    return [message for message in received(_settled_in(ledgers, ledger, chunk), since, until) if asked(message.topic)]


def received(messages: Sequence[Message], since: int | None, until: int | None) -> list[Message]:
    """Return the messages received within a time range."""
    return [
        message
        for message in messages
        if (since is None or message.received_at >= since) and (until is None or message.received_at < until)
    ]


def stored_in(chunks: Iterable[Chunk], start: int, since: int | None, until: int | None) -> list[Message]:
    """Return the messages of chunks from a sequence on, without the replayed dead letters, which are copies."""
    messages = [message for chunk in chunks if not chunk.only for message in chunk.messages if message.sequence >= start]
    return received(messages, since, until)


def replay(ledgers: Ledgers, ledger: SinkLedger, chunk: Chunk, messages: Sequence[Message]) -> None:
    """Make `replayable` messages pending again, in as few ranges as that takes."""
    added = Position((message.sequence, message.sequence + 1) for message in messages)
    if len(messages) == len(_settled_in(ledgers, ledger, chunk)):
        # the sink does not want what stands between them anyway
        added = Position([(messages[0].sequence, messages[-1].sequence + 1)])
        for start, end in ledger.position.intersect(chunk.first, chunk.end):
            added.remove(start, end)
    for start, end in added:
        ledger.position.add(start, end)
    ledger.matched += len(messages)
    ledger.pending += len(messages)
    ledger.changed = True
    reader = ledgers.reader(ledger.name)
    if reader is not None:
        reader.replayed(list(added))


def _settled_in(ledgers: Ledgers, ledger: SinkLedger, chunk: Chunk) -> list[Message]:
    if chunk.only not in (0, ledger.key):
        return []
    matches = ledgers.wants(ledger)
    return [m for m in chunk.messages if m.sequence not in ledger.position and (chunk.only or matches(m.topic))]
