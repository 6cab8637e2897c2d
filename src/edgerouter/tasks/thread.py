"""One thread for blocking calls: one after another, in the order given, whatever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Done = Callable[[T | None, BaseException | None], None]


class _Job(Generic[T]):
    """One call, and what gets its result."""

    __slots__ = ("abandoned", "call", "done")

    def __init__(self, call: Callable[[], T], done: Done[T] | None) -> None:
        self.call = call
        self.done = done
        self.abandoned = False
        """Nothing waits for the call any more."""


class Worker:
    """Runs calls in a separate thread.

    A call that is cancelled while it runs continues to its end, because a thread cannot be stopped, and the next one waits for it:
    two never interleave. The thread is a daemon, so that a device that hangs for ever does not keep the process from ending.

    Args:
        name: the thread's name.
        idle: called in the thread whenever `every` seconds went by without a call.
        every: seconds; `None` = never.
        skips_cancelled: a call that is cancelled before it began never runs.
    """

    def __init__(
        self, name: str, idle: Callable[[], None] | None = None, every: float | None = None, *, skips_cancelled: bool = True
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._idle = idle
        self._every = every if idle is not None else None
        self._skips_cancelled = skips_cancelled
        self._current: _Job[Any] | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T], done: Done[T] | None = None) -> None:
        """Run `call` in the thread, then `done(result, error)` on the event loop."""
        self._jobs.put(_Job(call, done))

    async def run(self, call: Callable[[], T]) -> T:
        """Run `call` in the thread, and return or raise as it does."""
        future: asyncio.Future[T] = self._loop.create_future()
        job = _Job(call, partial(_settle, future))
        self._jobs.put(job)
        try:
            return await future
        except asyncio.CancelledError:
            job.abandoned = True
            raise

    def abandoned(self) -> bool:
        """Return true if nothing waits any more for the call that runs; for the call itself to ask."""
        return self._current is not None and self._current.abandoned

    async def close(self, last: Callable[[], None] = lambda: None, patience: float | None = 5.0) -> None:
        """Run `last` after everything else and end the thread.

        Args:
            last: its error is raised.
            patience: seconds after which a thread that hangs is left behind; `None` = wait for it.
        """
        ended: asyncio.Future[None] = self._loop.create_future()
        self.submit(last, partial(_settle, ended))
        self._jobs.put(None)
        await asyncio.wait([ended], timeout=patience)
        if ended.done():
            self._thread.join()
            ended.result()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self._every)
            except Empty:
                if self._idle is not None:
                    self._idle()
                continue
            if job is None:
                return
            self._run(job)
            # neither the call nor its result lives on in this frame until the next one comes
            del job

    def _run(self, job: _Job[Any]) -> None:
        if job.abandoned and self._skips_cancelled:
            return
        self._current = job
        result: Any = None
        error: BaseException | None = None
        try:
            result = job.call()
        except BaseException as raised:  # noqa: BLE001  (whatever it is belongs to the one that waits)
            error = raised
        self._current = None
        if job.done is not None:
            with suppress(RuntimeError):  # the event loop is closed: nothing waits for answers any more
                self._loop.call_soon_threadsafe(job.done, result, error)


def _settle(future: asyncio.Future[T], result: T | None, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]  # None only where T allows it
