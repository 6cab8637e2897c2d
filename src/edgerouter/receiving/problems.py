"""Problems of a running source: retried with a back-off and reported, or the end of its deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import structlog

from edgerouter.errors import Unauthorized, Unavailable
from edgerouter.source import SourceContext
from edgerouter.tasks.backoff import full_jitter

log = structlog.get_logger("edgerouter.receiving")

_FIRST_DELAY: Final = 0.5
_MAX_DELAY: Final = 60.0


class Problems:
    """Current problems of a source by activity; the source counts as connected while there are none.

    Args:
        context: context of the source.
        of: queue, hub or subscription, for the log.
        end: ends `deliveries` with an error; see `Inbox.fail`.
    """

    def __init__(self, context: SourceContext, of: str, *, end: Callable[[Unavailable], None]) -> None:
        self.log = log.bind(source=context.name, of=of)
        self._context = context
        self._of = of
        self._end = end
        self._awaited: set[str] = set()
        self._reasons: dict[str, str] = {}

    def __contains__(self, activity: str) -> bool:
        return activity in self._reasons

    def until(self, activities: Iterable[str]) -> None:
        """Report the source as connected only once each of these activities has worked."""
        self._awaited.update(activities)

    def occurred(self, activity: str, reason: str) -> None:
        """Report a problem; it is logged unless the activity has one already."""
        if activity not in self._reasons:
            self.log.warning("trouble, will try again", doing=activity, reason=reason)
        self._reasons[activity] = reason
        self._context.connected(False, reason)

    def solved(self, activity: str) -> None:
        """Record that an activity works."""
        if activity not in self._reasons and activity not in self._awaited:
            return
        self._reasons.pop(activity, None)
        self._awaited.discard(activity)
        if not self._reasons and not self._awaited:
            self._context.connected(True, "")

    async def back_off(self, activity: str, reason: str, failures: int, error: Exception | None = None) -> None:
        """Report a problem, and wait with full jitter, and at least as long as the service asks for."""
        self.occurred(activity, reason)
        least = error.retry_after if isinstance(error, Unavailable) else None
        await asyncio.sleep(full_jitter(failures, _FIRST_DELAY, _MAX_DELAY, least))

    async def retry(self, activity: str, error: Unavailable, failures: int) -> None:
        """Back off after a failure to receive.

        Raises:
            Unauthorized: access is refused, so that the router opens the source again with secrets that may have changed.
        """
        if isinstance(error, Unauthorized):
            raise error
        await self.back_off(activity, str(error), failures, error)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task whose failure ends `deliveries`."""
        task = asyncio.create_task(work, name=f"{self._context.name}: {name}")
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, Unavailable):
            self._end(error)
        elif error is not None:
            self.log.error("receiving failed with an error that it should not raise", exc_info=error)
            self._end(Unavailable(f"{self._of}: {type(error).__name__}"))
