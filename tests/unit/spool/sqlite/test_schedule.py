"""Start of transactions. The committer is tested through the spool, in test_spool.py and test_policies.py."""

from __future__ import annotations

import asyncio

import pytest

from edgerouter.spool.sqlite.schedule import Alarm

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
