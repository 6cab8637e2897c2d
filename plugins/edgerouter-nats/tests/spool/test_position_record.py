"""A stored position comes back with its ledger and batches, and what is damaged says so."""

from __future__ import annotations

import pytest

from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.position import OPEN, Position
from edgerouter_nats.spool.position_record import decode, encode


def kept() -> SinkLedger:
    """Return a ledger with a batch that is written again after a restart."""
    ledger = SinkLedger("cloud#3", 7, ("a/#",), since=5)
    ledger.position.add(5, 9)
    ledger.position.add(20, OPEN)
    ledger.matched, ledger.delivered, ledger.pending = 10, 6, 4
    ledger.batches = {2: Position([(5, 7)])}
    return ledger


def test_a_record_holds_the_ledger_with_its_batches_and_says_who_wrote_it() -> None:
    record = decode(encode(kept(), 24, owner=9, writer="one-4", write=2))
    opened = record.opened("cloud#3")
    assert (record.owner, record.writer, record.write) == (9, "one-4", 2)
    assert list(opened.position) == [(5, 9), (20, OPEN)]
    assert (opened.filters, opened.numbers) == (("a/#",), kept().numbers)
    assert {number: list(batch) for number, batch in opened.batches.items()} == {2: [(5, 7)]}
    assert opened.counted_to == 24


def test_a_damaged_record_says_so_wherever_it_is_damaged() -> None:
    data = encode(kept(), 24)
    with pytest.raises(ValueError, match=r"."):
        decode(data[:-3])
    sealed = decode(data).ledger
    flipped = data.replace(sealed, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"."):
        decode(flipped).opened("cloud#3")
