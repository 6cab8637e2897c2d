"""The router ends in a bounded time, whatever a plugin does when it is cancelled."""

import asyncio

import pytest

from edgerouter.tasks import bounded


async def stubborn(released: asyncio.Event) -> None:
    while not released.is_set():
        try:
            await released.wait()
        except asyncio.CancelledError:
            continue


async def test_a_task_group_does_not_wait_for_a_plugin_that_ignores_its_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "CLOSING_SECONDS", 0.01)
    released = asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(bounded.leaving_behind(stubborn(released), "sink stubborn"))
        await asyncio.sleep(0)
        task.cancel()
    assert [task.get_name() for task in asyncio.all_tasks()].count("sink stubborn") == 1
    released.set()


async def test_a_failure_of_ours_still_ends_the_group() -> None:
    async def broken() -> None:
        raise KeyError("ours")

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bounded.leaving_behind(broken(), "sink broken"))
    assert raised.group_contains(KeyError)


async def test_a_plugin_that_ends_in_time_is_waited_for() -> None:
    closed = asyncio.Event()

    async def closing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            closed.set()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(bounded.leaving_behind(closing(), "sink closing"))
        await asyncio.sleep(0.001)
        task.cancel()
    assert closed.is_set()
