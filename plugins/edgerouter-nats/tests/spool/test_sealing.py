"""A receipt is stored with the last message of its delivery, and finds the messages before it.

Covers also: edgerouter_nats.spool.earlier.
"""

from __future__ import annotations

from edgerouter.spool.log.chunk import Chunk, NewChunk, Receipt
from edgerouter_nats.spool.earlier import Gathered
from edgerouter_nats.spool.sealing import with_receipts_at_the_end
from support.spools import fresh

SHORT, LONG = Receipt("s", 1, 2, b"short"), Receipt("s", 3, 7, b"long")


def chunks() -> list[NewChunk]:
    """Two deliveries in three chunks, with the receipts where they begin."""
    messages = fresh(10)
    return [NewChunk(messages[:4], {}, 0, [SHORT, LONG]), NewChunk(messages[4:8], {}), NewChunk(messages[8:], {})]


def test_a_receipt_is_beside_the_last_message_of_its_delivery() -> None:
    assert [chunk.receipts for chunk in with_receipts_at_the_end(chunks())] == [[SHORT], [], [Receipt("s", -5, 7, b"long")]]


def test_the_messages_of_a_receipt_are_found_in_the_chunks_before_it() -> None:
    gathered = Gathered()
    found = []
    for new in with_receipts_at_the_end(chunks()):
        gathered.add(Chunk(0, list(new.messages), {}))
        found += [[m.payload for m in gathered.messages_of(receipt)] for receipt in new.receipts]
    assert found == [[b"1", b"2"], [b"3", b"4", b"5", b"6", b"7", b"8", b"9"]]


def test_a_receipt_whose_first_messages_are_gone_has_those_that_are_left() -> None:
    gathered = Gathered()
    gathered.add(Chunk(0, fresh(3), {}))
    assert [m.payload for m in gathered.messages_of(Receipt("s", -4, 6, b"r"))] == [b"0", b"1"]
