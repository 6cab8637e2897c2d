"""Reading waits for more PUBRELs only at a broker that sends several in a row."""

from __future__ import annotations

from edgerouter.sources.mqtt.releases import ReleaseRhythm

ROW = [1, 5, 3, 1]
"""PUBRELs of one row, as they are read."""


class Unreleased:
    """Messages that a broker is to release."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.rhythm = ReleaseRhythm(lambda: self.number > 0)

    def read(self, number: int) -> tuple[bool, bool]:
        """Read so many PUBRELs; return whether the broker may wait, and whether reading may."""
        self.number -= number
        self.rhythm.released(number)
        return self.rhythm.end_read()


def test_reading_waits_for_the_rest_of_a_row_and_not_behind_its_end() -> None:
    broker = Unreleased(sum(ROW))

    assert [broker.read(number)[1] for number in ROW] == [True, True, True, False]


def test_one_moment_that_brings_a_single_release_is_the_last() -> None:
    broker = Unreleased(10)

    assert [broker.read(1)[1] for _ in range(5)] == [True, False, False, False, False]


def test_a_broker_sends_rows_again_once_several_come_together() -> None:
    broker = Unreleased(10)
    for _ in range(3):
        broker.read(1)
    assert broker.rhythm.come_one_by_one

    assert [broker.read(number)[1] for number in (2, 1)] == [True, False]
    assert Unreleased(10).read(2)[1]


def test_the_last_release_of_a_row_does_not_count_as_sent_alone() -> None:
    broker = Unreleased(2)
    broker.read(1)
    broker.read(1)
    broker.number = 5

    assert not broker.rhythm.come_one_by_one
    assert broker.read(1)[1]


def test_a_read_without_a_release_leaves_open_what_the_moment_brings() -> None:
    broker = Unreleased(10)
    broker.read(1)

    assert broker.read(0) == (True, False)
    broker.read(1)
    assert broker.rhythm.come_one_by_one


def test_a_broker_may_wait_for_the_answer_to_its_release_and_for_nothing_else() -> None:
    broker = Unreleased(1)

    assert broker.read(1) == (True, False)
    assert broker.read(0) == (False, False)
