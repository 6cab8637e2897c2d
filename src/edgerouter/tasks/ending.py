"""How tasks end that run a plugin: in a bounded time, whatever the plugin does when it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final

import structlog

log = structlog.get_logger("edgerouter.ending")

CLOSING_SECONDS: Final = 5.0
"""Time for a cancelled plugin to close its client; then it is left behind."""


class ClosingInTime(AsyncExitStack):
    """A stack whose exit takes at most `CLOSING_SECONDS`: a client that cannot say good-bye must not keep a sink from a new one.

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
        task.cancel()
        task.add_done_callback(_looked_at)
        try:
            await asyncio.wait((task,), timeout=CLOSING_SECONDS)
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


def _looked_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # or asyncio complains that nobody did
