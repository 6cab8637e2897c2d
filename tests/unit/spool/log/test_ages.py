"""Ages of pending messages: known as far as messages were read, and bounded."""

from __future__ import annotations

from edgerouter.spool.log.ages import Ages


def test_a_time_holds_up_to_the_next_one() -> None:
    ages = Ages()
    for sequence, received_at in ((10, 1000), (20, 2000)):
        ages.note(sequence, received_at, oldest=10)

    assert [ages.of(sequence) for sequence in (9, 10, 19, 20, 99)] == [None, 1000, 1000, 2000, 2000]


def test_times_before_the_oldest_pending_message_are_forgotten() -> None:
    ages = Ages()
    for sequence in (10, 20, 30):
        ages.note(sequence, sequence * 100, oldest=10)

    ages.note(40, 4000, oldest=25)

    assert ages.of(15) is None
    assert ages.of(25) == 2000


def test_a_backlog_read_in_many_places_costs_bounded_memory() -> None:
    ages = Ages()
    for sequence in range(5000):
        ages.note(sequence, sequence, oldest=0)

    assert ages.of(4999) == 999, "later times are not remembered"
