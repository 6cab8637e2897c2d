"""A halt ends waits and nothing else, and what continues afterwards is as it was."""

import asyncio

import pytest

from edgerouter.pipeline.halt import Halt, Halted
from support.pipeline import until


async def waiting(halt: Halt) -> str:
    """Wait as a worker does."""
    try:
        with halt.interruptible():
            await asyncio.Event().wait()
    except Halted:
        return "halted"
    return "over"


async def test_a_wait_is_ended_and_its_task_is_not_cancelled() -> None:
    halt = Halt()
    task = asyncio.create_task(waiting(halt))
    await asyncio.sleep(0)
    halt.ask()
    halt.interrupt()
    assert await task == "halted"
    assert task.cancelling() == 0


async def test_a_wait_that_begins_while_the_halt_lasts_does_not_begin() -> None:
    halt = Halt()
    halt.ask()
    assert await waiting(halt) == "halted"


async def test_a_cancellation_from_elsewhere_wins() -> None:
    """A stop of the router at the moment of a pause still ends the task."""
    halt = Halt()
    task = asyncio.create_task(waiting(halt))
    await asyncio.sleep(0)
    halt.ask()
    halt.interrupt()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_lifted_and_asked_again_before_it_was_noticed_the_halt_lasts() -> None:
    halt = Halt()
    halt.ask()
    over = asyncio.create_task(halt.over())
    assert await halt.until_at_rest(10)
    halt.lift()
    halt.ask()
    await asyncio.sleep(0)
    assert not over.done()
    halt.lift()
    await until(over.done)
    assert not halt.asked
    assert not await halt.until_at_rest(0.001)
