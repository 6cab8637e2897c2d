"""Rates are those of the last seconds, and begin anew with another run of the router."""

from __future__ import annotations

from typing import Any

import pytest

from edgerouter.cli.top.history import RATE_SECONDS, History


def status(messages: int, *, run: float = 1.0, used: int = 0, lag: tuple[int, float] = (0, 0.0)) -> dict[str, Any]:
    return {
        "started_at": run,
        "sources": {"in": {"messages": messages}, "other": {"messages": 2 * messages}},
        "sinks": {"out": {"delivered": messages}},
        "event_loop": {"lags": {"counts": [lag[0], 0], "total": lag[1]}},
        "spool": {"bytes": used, "max_bytes": 1000, "free_bytes": None},
    }


def test_a_rate_needs_two_looks_and_is_that_of_the_last_seconds() -> None:
    history = History()
    assert history.rate("source", "in") is None
    for second in range(60):
        history.add(float(second), status(10 * second if second < 30 else 300 + 100 * (second - 30)))
        if second == 0:
            assert history.rate("source", "in") is None
        if second == 29:
            assert history.rate("source", "in") == pytest.approx(10)
    assert history.rate("source", "in") == pytest.approx(100), f"of the last {RATE_SECONDS} s alone"
    assert history.total("source") == pytest.approx(300)
    assert history.rate("sink", "nowhere") is None


def test_another_run_begins_anew() -> None:
    history = History()
    history.add(0.0, status(1000))
    history.add(1.0, status(5, run=2.0))
    assert history.restarted
    assert history.rate("source", "in") is None
    history.add(2.0, status(8, run=2.0))
    assert history.rate("source", "in") == pytest.approx(3)


def test_the_lag_is_the_mean_of_the_samples_between_two_looks() -> None:
    history = History()
    history.add(0.0, status(0, lag=(10, 5.0)))
    history.add(1.0, status(0, lag=(10, 5.0)))
    assert history.lag is None, "no sample: the loop was not busy"
    history.add(2.0, status(0, lag=(14, 5.2)))
    assert history.lag == pytest.approx(0.05)


@pytest.mark.parametrize(("used", "free", "left"), [(0, None, None), (100, None, 9.0), (100, 50, 0.5), (1000, None, 0.0)])
def test_a_spool_is_full_when_its_growth_has_used_what_is_left(used: int, free: int | None, left: float | None) -> None:
    history = History()
    history.add(0.0, status(0))
    history.add(1.0, status(0, used=used))
    seconds = history.seconds_until_full({"max_bytes": 1000, "free_bytes": free})
    assert seconds == (left if left is None else pytest.approx(left))
