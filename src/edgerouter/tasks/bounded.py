"""Plugins run within bounds of time: one that ignores its cancellation is left behind, and none ends the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final

import structlog

from edgerouter.errors import Rejected, Unavailable
from edgerouter.tasks.waiting import give, wait

log = structlog.get_logger("edgerouter.ending")

CLOSING_SECONDS: Final = 5.0
"""Time for a cancelled plugin to close its client; then it is left behind."""
LET_GO_SECONDS: Final = 2.0
"""Time for a cancelled call to end; then it is left behind."""
_MOST_LEFT_BEHIND: Final = 3
"""Calls left behind that still run, of one sink; each holds a batch in memory."""


async def let_go(task: asyncio.Task[Any], seconds: float) -> bool:
    """Cancel a task and wait for it; returns false when it continues nevertheless, and is left behind."""
    task.cancel()
    task.add_done_callback(_retrieve)
    await asyncio.wait((task,), timeout=seconds)
    return task.done()


class NoAnswer(Unavailable):
    """The time was over; what was sent may have been taken."""


class StuckCall(NoAnswer):
    """The time was over, and the call continues although it was cancelled. Only a new client may help."""


class Bounded:
    """Calls of one sink's `write`.

    Args:
        name: of the sink, for the names of tasks.
        seconds: that a call may take.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name = f"write {name}"
        self._seconds = seconds
        self._left_behind: set[asyncio.Task[Any]] = set()

    async def call(self, write: Callable[[], Awaitable[Any]]) -> Any:
        """Return or raise as the call does.

        Raises:
            NoAnswer: not in time.
            Unavailable: another party cancelled it, or its own timeout elapsed.
        """
        while len(self._left_behind) >= _MOST_LEFT_BEHIND:
            await asyncio.wait(self._left_behind, return_when=asyncio.FIRST_COMPLETED)
        # in a task: awaiting the call itself would last until it ends
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(_awaited(write, over), name=self._name)
        try:
            await wait(over, self._seconds)
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
        """Cancel a call; returns false when it does not end."""
        self._left_behind.add(task)
        task.add_done_callback(self._left_behind.discard)
        return await let_go(task, LET_GO_SECONDS)


async def _awaited(write: Callable[[], Awaitable[Any]], over: asyncio.Future[None]) -> Any:
    try:
        return await write()
    except SystemExit as error:
        # it would end the event loop and with it the router
        raise RuntimeError(f"the plugin asked the process to end: SystemExit({error})") from error
    finally:
        # the caller wakes after the task has ended, in one turn of the event loop
        give(over)


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
    """Return the error of a plugin's task group as a whole: errors of the contract count as if they had been raised alone."""
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


class ClosingInTime(AsyncExitStack):
    """A stack whose exit takes at most `CLOSING_SECONDS`: a client that cannot disconnect must not delay a new one.

    Args:
        name: of the sink.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        try:
            async with asyncio.timeout(CLOSING_SECONDS) as limit:
                return bool(await super().__aexit__(kind, error, trace))
        except TimeoutError:
            if not limit.expired():
                raise
            log.warning("sink did not close in time", sink=self._name, seconds=CLOSING_SECONDS)
            return False


async def leaving_behind(run: Coroutine[Any, Any, None], name: str) -> None:
    """Run until done or cancelled. A task group that holds this does not wait for a plugin that ignores its cancellation.

    Args:
        run: what runs the plugin.
        name: of its task.
    """
    task = asyncio.create_task(run, name=name)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        try:
            await let_go(task, CLOSING_SECONDS)
        finally:
            if not task.done():
                log.warning("left behind: it goes on although it was cancelled", task=name)
        raise
    task.result()


async def ended(tasks: Sequence[asyncio.Task[None]], timeout: float) -> None:  # noqa: ASYNC109  (a bound, not a failure)
    """Wait for tasks to end, cancel those that do not in time."""
    if tasks:
        _, running = await asyncio.wait(tasks, timeout=timeout)
        for task in running:
            task.cancel()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Retrieve the exception of a task that nothing waits for, or asyncio complains."""
    if not task.cancelled():
        task.exception()
