"""Health is red when, and only when, nothing flows that should."""

from typing import Any

import msgspec
import pytest

from edgerouter.admin.health import not_flowing, not_ready, paused
from support.status import SINK, SOURCE, router_status


def reasons(uptime: float = 3600.0, **sink: Any) -> list[str]:
    """Return why a router with this sink does not flow."""
    return not_flowing(router_status(uptime_seconds=uptime, sinks={"out": msgspec.structs.replace(SINK, **sink)}))


def test_a_sink_in_order_flows() -> None:
    assert reasons() == []


@pytest.mark.parametrize("state", ["retrying", "throttled", "unauthorized", "stopped"])
def test_a_failing_sink_with_messages_does_not_flow_and_says_why(state: str) -> None:
    assert reasons(state=state, last_error="no route") == [f"sink out is {state}, 1 messages wait: no route"]
    assert reasons(state=state, pending=0, matched=0) == []


def test_a_sink_that_delivers_nothing_for_a_minute_does_not_flow() -> None:
    assert reasons(oldest_pending_seconds=61.0, idle_seconds=61.0)
    assert reasons(oldest_pending_seconds=61.0, idle_seconds=59.0) == []
    assert reasons(oldest_pending_seconds=59.0, idle_seconds=61.0) == [], "there was nothing to deliver before"


def test_a_sink_that_never_delivered_counts_from_the_start() -> None:
    assert reasons(oldest_pending_seconds=61.0)
    assert reasons(oldest_pending_seconds=None), "the age of what waits may not be known"
    assert reasons(oldest_pending_seconds=1e6, uptime=30.0) == [], "the backlog of an earlier run is not a fault of this one"


def test_a_sink_that_may_take_its_time_is_not_stuck() -> None:
    """An archive that lingers for five minutes is in order for five minutes."""
    assert reasons(oldest_pending_seconds=301.0, idle_seconds=301.0, patience_seconds=330.0) == []
    assert reasons(oldest_pending_seconds=331.0, idle_seconds=331.0, patience_seconds=330.0)


def test_a_clock_that_jumps_by_decades_hides_no_stuck_sink_and_makes_none() -> None:
    assert reasons(idle_seconds=61.0, oldest_pending_seconds=1.7e9, last_delivery_at=1.7e9)
    assert reasons(idle_seconds=1.0, oldest_pending_seconds=1.7e9, last_delivery_at=5.0) == []


def test_messages_that_are_still_being_counted_count_as_waiting() -> None:
    """A large backlog is compared with changed topics while the sink works: until then nothing is known to be done."""
    (reason,) = reasons(state="retrying", pending=0, matched=0, uncounted=7, last_error="no route")
    assert reason == "sink out is retrying, 0 messages and up to 7 that are being counted wait: no route"


def test_a_pause_by_an_operator_is_not_a_fault_and_is_named() -> None:
    sinks = {"out": msgspec.structs.replace(SINK, state="paused", oldest_pending_seconds=1e6, idle_seconds=1e6)}
    status = router_status(sinks=sinks, sources={"in": msgspec.structs.replace(SOURCE, connected=False, paused=True)})
    assert (not_flowing(status), not_ready(status)) == ([], [])
    assert paused(status) == ["sink out", "source in"]


def test_a_router_that_drains_accepts_nothing() -> None:
    (reason,) = not_ready(router_status(sources={"in": SOURCE}, draining=True))
    assert reason == "the router drains before it ends, and accepts no more messages"
