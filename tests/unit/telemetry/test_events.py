"""The record of events keeps the newest within its bounds, and says how many a reader has missed."""

import asyncio

from edgerouter.masking import forget_all, protect
from edgerouter.telemetry.events import MOST_BYTES, MOST_CHARACTERS, MOST_EVENTS, Events


def texts(events: Events, after: int = 0) -> list[str]:
    return [event.text for event in events.after(after).events]


def test_the_oldest_events_give_way_and_are_counted_as_missed() -> None:
    events = Events()
    start = events.last
    for number in range(MOST_EVENTS + 5):
        events.add("sink", "out", str(number))

    page = events.after(start)
    assert len(page.events) == MOST_EVENTS
    assert page.missed == 5
    assert page.events[0].text == "5"
    assert events.after(events.last) == ([], 0)


def test_long_texts_are_cut_and_the_record_is_bounded_in_bytes() -> None:
    events = Events()
    for _ in range(MOST_EVENTS):
        events.add("change", "x" * 10_000, "y" * 100_000, by="z" * 10_000)

    held = events.after(0).events
    assert all(len(event.text) <= MOST_CHARACTERS + 3 for event in held)
    assert sum(len(event.text) + len(event.subject) + len(event.by) for event in held) < MOST_BYTES


def test_secrets_in_texts_are_masked() -> None:
    protect("very-secret-password-1")
    events = Events()
    events.add("sink", "out", "refused: very-secret-password-1")
    forget_all()

    assert texts(events) == ["refused: ***"]


def test_pages_follow_each_other_without_a_hole() -> None:
    events = Events()
    for number in range(10):
        events.add("sink", "out", str(number))

    seen, at = [], 0
    while page := events.after(at, 3).events:
        seen += [event.text for event in page]
        at = page[-1].id
    assert seen == [str(number) for number in range(10)]


def test_a_number_of_an_earlier_run_whose_clock_was_ahead_starts_over() -> None:
    events = Events()
    events.add("started", "", "a")

    assert texts(events, events.last + 10**9) == ["a"]


def test_a_later_run_continues_with_higher_numbers() -> None:
    first = Events()
    first.add("started", "", "a")

    assert Events().last >= first.last - 1


def test_a_listener_is_woken_until_it_leaves() -> None:
    events, flag = Events(), asyncio.Event()
    with events.listening(flag):
        events.add("sink", "out", "a")
        assert flag.is_set()
        flag.clear()
    events.add("sink", "out", "b")
    assert not flag.is_set()
