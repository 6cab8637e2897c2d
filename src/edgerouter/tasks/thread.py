"""One thread for one sink's blocking calls: one after another, in the order given, whatever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Job(Generic[T]):
    """One call, and whether somebody still waits for it."""

    __slots__ = ("abandoned", "call", "future")

    def __init__(self, call: Callable[[], T]) -> None:
        self.call = call
        self.future: Future[T] = Future()
        self.abandoned = False

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return  # cancelled before it began: never runs
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001  (whatever it is belongs to the one who waits)
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Worker:
    """Runs calls in a thread of its own.

    A call that is cancelled before it began never runs. One that is cancelled while it runs goes on to its end, because a thread
    cannot be stopped, and the next one waits for it: two never interleave. The thread is a daemon, so that a device that hangs
    for ever does not keep the process from ending.

    Args:
        name: the thread's name.
        idle: called in the thread whenever `every` seconds went by without a call.
        every: seconds; `None` = never.
    """

    def __init__(self, name: str, idle: Callable[[], None] | None = None, every: float | None = None) -> None:
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._idle = idle
        self._every = every if idle is not None else None
        self._current: _Job[Any] | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises."""
        job = _Job(call)
        self._jobs.put(job)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.abandoned = True
            raise

    def start(self, call: Callable[[], None]) -> None:
        """Run `call` when its turn comes; nobody waits for it, so it must not raise."""
        self._jobs.put(_Job(call))

    def abandoned(self) -> bool:
        """Whether nobody waits any more for the call that runs; for the call itself to ask."""
        return self._current is not None and self._current.abandoned

    async def close(self, last: Callable[[], None], patience: float = 5.0) -> None:
        """Run `last` after everything else and end the thread; one that hangs longer than `patience` seconds is left behind."""
        job = _Job(last)
        self._jobs.put(job)
        self._jobs.put(None)
        waiter = asyncio.wrap_future(job.future)
        done, _ = await asyncio.wait([waiter], timeout=patience)
        if done:
            self._thread.join()
            waiter.result()

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
            self._current = job
            job.run()
            self._current = None
