"""Reading waits for the router only under steady traffic, and never where the broker may be waiting for acknowledgements."""

from __future__ import annotations

from edgerouter.sources.mqtt.rhythm import Rhythm


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def steady() -> tuple[Rhythm, Clock]:
    """Build a rhythm with acknowledgements 20 ms apart, the last just now."""
    clock = Clock()
    rhythm = Rhythm(clock)
    for _ in range(2):
        clock.now += 0.02
        rhythm.acknowledged()
    return rhythm, clock


def test_what_comes_late_after_acknowledgements_comes_by_itself_and_may_wait() -> None:
    rhythm, clock = steady()
    clock.now += 0.015

    assert rhythm.may_wait(200)


def test_what_comes_right_after_acknowledgements_may_have_waited_for_them() -> None:
    rhythm, clock = steady()
    clock.now += 0.001

    assert not rhythm.may_wait(200)


def test_heavy_traffic_is_read_while_the_spool_commits() -> None:
    rhythm, clock = steady()
    clock.now += 0.015

    assert rhythm.may_wait(40 * 1024)
    assert not rhythm.may_wait(40 * 1024)
    rhythm.acknowledged()
    clock.now += 0.015
    assert rhythm.may_wait(200)
    assert not rhythm.may_wait_again(128 * 1024, 500)


def test_reading_waits_as_long_as_messages_come_in_varying_numbers() -> None:
    rhythm, clock = steady()
    clock.now += 0.015
    rhythm.may_wait(200)

    assert all(rhythm.may_wait_again(4000, 20 + number % 2) for number in range(20))


def test_equal_numbers_in_a_row_may_be_the_window_of_the_broker() -> None:
    rhythm, clock = steady()
    clock.now += 0.015
    rhythm.may_wait(200)

    assert [rhythm.may_wait_again(4000, 20) for _ in range(5)] == [True, True, True, True, False]


def test_every_now_and_then_a_delivery_is_read_as_it_comes() -> None:
    rhythm, clock = steady()
    clock.now += 0.015
    rhythm.may_wait(200)

    assert not all(rhythm.may_wait_again(4000, number) for number in range(1, 40))


def test_nothing_read_ends_the_waiting() -> None:
    rhythm, clock = steady()
    clock.now += 0.015
    rhythm.may_wait(200)

    assert not rhythm.may_wait_again(0, 0)
