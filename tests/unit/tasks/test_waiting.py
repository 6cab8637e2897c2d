"""A wait ends with its sign, at its time, or by cancellation, and leaves no timer behind."""

from __future__ import annotations

import asyncio

import pytest

from edgerouter.tasks.waiting import give, wait


async def test_a_sign_ends_the_wait() -> None:
    sign = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait(sign, 60))
    await asyncio.sleep(0)
    give(sign)
    give(sign)

    async with asyncio.timeout(10):
        await waiting


async def test_the_time_ends_the_wait() -> None:
    async with asyncio.timeout(10):
        await wait(asyncio.get_running_loop().create_future(), 0.01)


async def test_a_cancelled_wait_ends_and_a_sign_may_still_come_later() -> None:
    sign = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait(sign, 60))
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    give(sign)
