"""A position against the plainest model: a set of numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edgerouter.spool.log.position import OPEN, Position, runs

LIMIT = 60
edges = st.integers(0, LIMIT)


class PositionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.position = Position([(0, OPEN)])
        # the model ends at LIMIT, where the position is open
        self.model = set(range(LIMIT + 1))

    @rule(start=edges, end=edges)
    def remove(self, start: int, end: int) -> None:
        self.position.remove(start, end)
        self.model -= set(range(start, end))

    @rule(start=edges, end=edges)
    def add(self, start: int, end: int) -> None:
        self.position.add(start, end)
        self.model |= set(range(start, end))

    @rule(at=edges)
    def split_and_join(self, at: int) -> None:
        rest = self.position.split(at)
        assert self.position.end <= at
        assert rest.first is None or rest.first >= at
        for start, end in rest:
            self.position.add(start, end)

    @rule()
    def store_and_read_back(self) -> None:
        self.position = Position.decode(self.position.encode())

    @rule(start=edges, end=edges)
    def look(self, start: int, end: int) -> None:
        wanted = self.model & set(range(start, end))
        ranges = self.position.intersect(start, end)
        assert {s for a, b in ranges for s in range(a, b)} == wanted
        assert self.position.count(start, end) == len(wanted)
        assert self.position.overlaps(start, end) == bool(wanted)

    @invariant()
    def equal_the_set(self) -> None:
        assert {s for s in range(LIMIT + 1) if s in self.position} == self.model
        assert self.position.first == min(self.model)
        ranges = list(self.position)
        assert all(a < b for a, b in ranges)
        assert all(before[1] < after[0] for before, after in pairwise(ranges)), "no two ranges touch"
        assert ranges[-1][1] == OPEN


TestPosition = PositionMachine.TestCase


@given(st.lists(st.integers(0, 100), unique=True).map(sorted))
def test_runs_join_what_touches_and_nothing_else(numbers: list[int]) -> None:
    joined = runs((number, number + 1) for number in numbers)

    assert [s for a, b in joined for s in range(a, b)] == numbers
    assert all(before[1] < after[0] for before, after in pairwise(joined))


def test_a_position_of_one_open_range_takes_a_dozen_bytes() -> None:
    assert len(Position([(5_000_000_000, OPEN)]).encode()) <= 20


@pytest.mark.parametrize("data", [b"", b"\x91\x01", b"\x92\x05\x00", b"\xc0", b"\x94\x01\x02\x00\x03"])
def test_bytes_that_are_not_a_position_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a position"):
        Position.decode(data)
