"""A stored chunk comes back as it was, with its counts, and damage is noticed."""

from __future__ import annotations

import pytest

from edgerouter.spool.log.chunk import Damaged, NewChunk, Receipt
from edgerouter.topics import Matcher
from edgerouter_nats.spool.names import digest_of
from edgerouter_nats.spool.sequences import first_of
from edgerouter_nats.spool.stored import Envelopes, counted_for
from support.spools import fresh


def test_a_chunk_is_the_same_for_the_router_that_stored_it_and_for_all_others() -> None:
    envelopes = Envelopes("spool")
    sealed = envelopes.seal(NewChunk(fresh(5), {7: 5}, receipts=[Receipt("s", 2, 3, b"r")]), {7: 1}, 0)
    opened = envelopes.open(9, sealed.data)
    assert opened.chunk == sealed.numbered("spool", 9)
    assert [m.sequence for m in opened.chunk.messages] == [first_of(9) + n for n in range(5)]
    assert opened.chunk.end == first_of(10)
    assert [(r.first, r.count) for r in opened.receipts] == [(2, 3)]


def test_a_flipped_bit_anywhere_is_noticed() -> None:
    envelopes = Envelopes("spool")
    data = envelopes.seal(NewChunk(fresh(5), {7: 5}), {7: 1}, 0).data
    for place in range(len(data)):
        with pytest.raises(Damaged):
            envelopes.open(1, data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


def test_counts_by_other_filters_are_made_again_and_those_by_the_same_are_kept() -> None:
    envelopes = Envelopes("spool")
    messages = fresh(2) + fresh(3, topic="b")
    opened = envelopes.open(1, envelopes.seal(NewChunk(messages, {7: 99}), {7: digest_of(("a/b",))}, 0).data)
    same, other = (digest_of(("a/b",)), Matcher(["a/b"])), (digest_of(("b",)), Matcher(["b"]))
    assert counted_for(opened, {7: same}).wanted == {7: 99}
    assert counted_for(opened, {7: other, 8: same}).wanted == {7: 3, 8: 2}
