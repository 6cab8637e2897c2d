"""Stored messages are recognised by their place, and no other message is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerouter_nats.jetstream.seen import Place, Seen, place_of


@given(st.lists(st.integers(1, 60), max_size=100))
def test_exactly_what_was_added_is_seen(sequences: list[int]) -> None:
    seen = Seen()
    for sequence in sequences:
        seen.add(Place(sequence, 1))
    assert {sequence for sequence in range(70) if Place(sequence, 1) in seen} == set(sequences)
    gaps = [each for each in set(sequences) if each - 1 not in sequences]
    assert len(seen) == len(gaps)


def test_a_sequence_that_another_message_has_now_is_not_seen() -> None:
    seen = Seen()
    for sequence in range(1, 101):
        seen.add(Place(sequence, sequence))
    assert Place(100, 100) in seen
    assert Place(100, 200) not in seen
    seen.add(Place(100, 200))
    assert Place(100, 200) in seen
    assert Place(50, 300) not in seen


def test_memory_is_bounded_when_others_take_every_second_message() -> None:
    seen = Seen()
    for sequence in range(1, 60_000, 2):
        seen.add(Place(sequence, 1))
    assert len(seen) == 10_000
    assert Place(59_999, 1) in seen


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("$JS.ACK.plant.router.1.42.7.1795168800123456789.3", Place(42, 1795168800123456789)),
        ("$JS.ACK.hub.AB12.plant.router.1.42.7.1795168800123456789.3.token", Place(42, 1795168800123456789)),
        ("$JS.ACK.plant.router.1.x.7.1.3", None),
        ("$JS.ACK", None),
        ("", None),
    ],
)
def test_the_place_stands_in_the_address_of_the_acknowledgement(reply: str, place: Place | None) -> None:
    assert place_of(reply) == place
