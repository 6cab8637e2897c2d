"""Waits for the beat end together."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from edgerouter.tasks.beat import until_beat


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_waits_that_begin_at_different_times_end_at_the_same_one(new_loop: type[asyncio.AbstractEventLoop]) -> None:
    async def main() -> set[float]:
        clock = asyncio.get_running_loop().time
        due = set()
        for _ in range(4):
            due.add(round(clock() + until_beat(2.0), 3) % 2.0)
            await asyncio.sleep(0.013)
        return due

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(main()) <= {0.0, 2.0}


async def test_a_wait_is_never_shorter_than_a_quarter_of_the_beat_nor_longer_than_five() -> None:
    for _ in range(50):
        assert 0.0025 <= until_beat(0.01) <= 0.0125
        await asyncio.sleep(0.0003)
