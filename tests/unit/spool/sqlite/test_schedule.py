"""Start of transactions. The committer is tested through the spool, in test_spool.py and test_policies.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from edgerouter.spool.sqlite.schedule import Alarm, Schedule

uvloop = pytest.importorskip("uvloop")


def test_a_transaction_that_is_due_almost_now_starts_however_often_that_is_said() -> None:
    """Uvloop gives a handle without its time for what is due in less than half a millisecond."""

    async def main() -> None:
        started = asyncio.Event()
        alarm = Alarm(started.set)
        for _ in range(3):
            alarm.set(0.0003)
        async with asyncio.timeout(10):
            await started.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clock]:
    clock = Clock()
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "time", clock)
        yield clock


def flowing(clock: Clock) -> Schedule:
    """Return the schedule of a spool in which two deliveries were stored a tenth of a second apart, the last just now."""
    schedule = Schedule(0.02)
    for _ in range(2):
        clock.now += 0.1
        schedule.succeeded(appends=True)
    return schedule


async def test_settlements_alone_are_committed_after_the_interval_when_the_router_is_idle(clock: Clock) -> None:
    schedule = Schedule(0.02)
    schedule.succeeded(appends=True)

    assert schedule.settling_in(1) == pytest.approx(0.02)
    clock.now += 0.02
    assert schedule.settling_in(1) == pytest.approx(0.0)


async def test_settlements_wait_for_the_next_delivery_while_deliveries_flow(clock: Clock) -> None:
    schedule = flowing(clock)

    assert schedule.settling_in(1) == pytest.approx(0.25)


async def test_many_settlements_wait_for_no_delivery(clock: Clock) -> None:
    """A crash would repeat them all."""
    schedule = flowing(clock)

    assert schedule.settling_in(101) == pytest.approx(0.02)


async def test_the_wait_ends_when_the_flow_has_ended(clock: Clock) -> None:
    schedule = flowing(clock)
    clock.now += 0.3
    schedule.succeeded(appends=False)

    assert schedule.settling_in(1) == pytest.approx(0.02)
