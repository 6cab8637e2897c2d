"""A call of a plugin, for at most so long: even of one that goes on when it is cancelled, or that asks the process to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from edgerouter.errors import Rejected, Unavailable

LET_GO_SECONDS: Final = 2.0
"""Time for a cancelled call to end; then it is left behind."""
_MOST_LEFT_BEHIND: Final = 3
"""Calls left behind that still run, of one sink; each holds a batch in memory."""


class NoAnswer(Unavailable):
    """The time was over; what was sent may have been taken."""


class StuckCall(NoAnswer):
    """The time was over, and the call goes on although it was cancelled. Only a new client may help."""


class Bounded:
    """Calls of one sink's `write`.

    Args:
        name: of the sink, for the names of tasks.
        seconds: that a call may take.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._left_behind: set[asyncio.Task[Any]] = set()

    async def call(self, write: Callable[[], Awaitable[Any]]) -> Any:
        """What the call answers, or raises.

        Raises:
            NoAnswer: not in time.
            Unavailable: it was cancelled, but not by us, or ran into a time-out of its own.
        """
        while len(self._left_behind) >= _MOST_LEFT_BEHIND:
            await asyncio.wait(self._left_behind, return_when=asyncio.FIRST_COMPLETED)
        # in a task of its own, because whoever waits for a call itself waits as long as it likes
        task = asyncio.create_task(_awaited(write), name=f"write {self._name}")
        try:
            await asyncio.wait((task,), timeout=self._seconds)
        except asyncio.CancelledError:
            await self._let_go(task)
            raise
        if task.done():
            return _answer(task)
        if not await self._let_go(task):
            raise StuckCall(
                f"no answer within {self._seconds:g} s, and the write goes on although it was cancelled; it may have been taken"
            )
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or not (error is None or isinstance(error, Unavailable | Rejected)):
            raise NoAnswer(f"no answer within {self._seconds:g} s; it may have been taken") from error
        return task.result()  # the answer came while it was asked to end

    async def _let_go(self, task: asyncio.Task[Any]) -> bool:
        """Cancel a call; False when it does not end."""
        task.cancel()
        self._left_behind.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait((task,), timeout=LET_GO_SECONDS)
        return task.done()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._left_behind.discard(task)
        if not task.cancelled():
            task.exception()  # nobody waits for it any more, so nobody misses it


async def _awaited(write: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await write()
    except SystemExit as error:
        # it would end the event loop and with it the router
        raise RuntimeError(f"the plugin asked the process to end: SystemExit({error})") from error


def _answer(task: asyncio.Task[Any]) -> Any:
    try:
        return task.result()
    except TimeoutError as error:
        raise Unavailable(f"time-out: {error}") from error
    except asyncio.CancelledError as error:
        raise Unavailable("the write was cancelled inside the sink") from error
    except ExceptionGroup as group:
        raise _of_group(group) from group


def _of_group(group: ExceptionGroup[Exception]) -> Exception:
    """What a task group of the plugin means as a whole: its errors of the contract count as if they had been raised alone."""
    unavailable, others = group.split(Unavailable)
    rejected, bugs = others.split(Rejected) if others is not None else (None, None)
    if bugs is not None:
        return group
    # while the service is away nothing can be said about a message
    return _first(unavailable if unavailable is not None else rejected or group)


def _first(group: ExceptionGroup[Any]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
