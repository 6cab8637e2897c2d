"""A sink's thread: one call after another, whatever is cancelled."""

from __future__ import annotations

import asyncio
import threading

import pytest

from edgerouter.tasks.thread import Worker


async def test_a_call_returns_its_result_or_its_error() -> None:
    worker = Worker("test")
    assert await worker.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    await worker.close()


async def test_a_cancelled_call_that_has_begun_ends_before_the_next_one_begins() -> None:
    worker = Worker("test")
    begun, may_end = threading.Event(), threading.Event()
    seen: list[str] = []

    def slow() -> None:
        begun.set()
        may_end.wait(10)
        seen.append(f"slow, abandoned: {worker.abandoned()}")

    first = asyncio.create_task(worker.run(slow))
    async with asyncio.timeout(10):
        while not begun.is_set():
            await asyncio.sleep(0.001)
    never = asyncio.create_task(worker.run(lambda: seen.append("never")))
    await asyncio.sleep(0)
    for task in (first, never):
        task.cancel()
    await asyncio.gather(first, never, return_exceptions=True)
    last = asyncio.create_task(worker.run(lambda: seen.append(f"last, abandoned: {worker.abandoned()}")))
    await asyncio.sleep(0)
    may_end.set()
    await last

    assert seen == ["slow, abandoned: True", "last, abandoned: False"]
    await worker.close()


async def test_closing_runs_what_was_asked_for_before_and_ends_the_thread() -> None:
    seen: list[int] = []
    threads = threading.active_count()
    worker = Worker("test")
    worker.submit(lambda: seen.append(1))
    await worker.close(lambda: seen.append(2))

    assert seen == [1, 2]
    assert threading.active_count() == threads


async def test_a_thread_that_hangs_is_left_behind() -> None:
    """A device that hangs must not keep the router from stopping."""
    worker = Worker("test")
    may_end = threading.Event()
    hanging = asyncio.create_task(worker.run(lambda: may_end.wait(10)))
    await asyncio.sleep(0)
    await worker.close(patience=0.05)

    may_end.set()
    await hanging


async def test_the_idle_call_comes_when_nothing_else_does() -> None:
    idle = threading.Event()
    worker = Worker("test", idle.set, every=0.01)
    async with asyncio.timeout(10):
        while not idle.is_set():
            await asyncio.sleep(0.005)
    await worker.close()
