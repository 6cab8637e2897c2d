"""A sink's ledger as it is stored."""

from __future__ import annotations

import msgspec

from edgerouter.spool.log.change import Change
from edgerouter.spool.log.ledger import SinkLedger, seal, unseal
from edgerouter.spool.log.position import Position
from edgerouter.spool.log.uncounted import Uncounted


class SinkRecord(msgspec.Struct, frozen=True, array_like=True):
    """An ledger as it is stored."""

    key: int
    filters: tuple[str, ...]
    since: int
    matched: int
    delivered: int
    dead_lettered: int
    dropped: int
    position: bytes
    uncounted: bytes
    """Sequences that were never counted."""
    pending: int = -1
    """Below 0 in a record of a version that did not count it."""
    filtered: int = 0
    recounts: tuple[tuple[tuple[str, ...], bytes], ...] = ()
    """Sequences that were counted by earlier filters, with those."""
    end: int = 0
    """The numbers hold for messages below this sequence."""
    missing: int = 0
    known_to: int = 0
    vouched: tuple[int, int] = (0, 0)


def encode(ledger: SinkLedger, change: Change, end: int) -> bytes:
    """Write down a ledger as it will be once a transaction has succeeded.

    Args:
        ledger: as it is now.
        change: what the transaction changes.
        end: the sequence after the last one that it appends.
    """
    position = ledger.position
    if change.settled or change.added:
        position = position.copy()
        for first, after in change.settled:
            position.remove(first, after)
        for first, after in change.added:
            position.add(first, after)
    never = next((part.ranges for part in ledger.uncounted if not part.filters), Position())
    record = SinkRecord(
        ledger.key,
        ledger.filters,
        ledger.since,
        ledger.matched + change.matched,
        ledger.delivered,
        ledger.dead_lettered + change.dead_lettered,
        ledger.dropped,
        position.encode(),
        never.encode(),
        ledger.pending + change.pending,
        ledger.filtered,
        tuple((part.filters, part.ranges.encode()) for part in ledger.uncounted if part.filters),
        end,
        ledger.missing,
        ledger.known_to,
        ledger.vouched,
    )
    return seal(msgspec.msgpack.encode(record))


def decode(name: str, data: bytes) -> SinkLedger:
    """Read a stored ledger.

    Raises:
        ValueError: it is not what was written.
    """
    record = msgspec.msgpack.decode(unseal(data), type=SinkRecord)
    ledger = SinkLedger(
        name,
        record.key,
        record.filters,
        record.since,
        Position.decode(record.position),
        Uncounted((filters, Position.decode(ranges)) for filters, ranges in record.recounts),
        record.matched,
        record.delivered,
        record.dead_lettered,
        record.dropped,
        record.filtered,
        record.pending,
        record.missing,
        record.known_to,
        record.vouched,
        counted_to=record.end,
    )
    ledger.uncounted.add((), Position.decode(record.uncounted))
    if record.pending < 0:
        ledger.pending = 0
        ledger.pending = ledger.difference
    return ledger
