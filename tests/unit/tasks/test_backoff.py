"""Delays between attempts: bounded, spread, and as long as a service asked for."""

from __future__ import annotations

import pytest

from edgerouter.errors import LONGEST_WAIT
from edgerouter.tasks.backoff import full_jitter


@pytest.mark.parametrize(("attempt", "bound"), [(1, 0.5), (2, 1.0), (5, 8.0), (8, 60.0), (10_000, 60.0)])
def test_the_upper_bound_doubles_with_each_attempt_up_to_the_longest(attempt: int, bound: float) -> None:
    delays = [full_jitter(attempt, 0.5, 60.0, floor=0.2) for _ in range(200)]

    assert all(0.2 * bound <= delay <= bound for delay in delays)
    assert max(delays) - min(delays) > 0.2 * bound, "many devices must not come back at the same moment"


def test_a_wait_that_a_service_asks_for_is_kept_up_to_an_hour() -> None:
    assert 30 <= full_jitter(1, 0.5, 60.0, 30.0) <= 33
    assert LONGEST_WAIT <= full_jitter(1, 0.5, 60.0, 1e9) <= 1.1 * LONGEST_WAIT
