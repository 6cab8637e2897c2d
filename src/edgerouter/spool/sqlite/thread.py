"""The one thread that touches the database: calls go in by a queue, answers come back to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]


class DatabaseThread:
    """Runs calls one after the other in a thread of its own.

    A SQLite connection wants one thread, and one connection that writes is what keeps a WAL sound; so everything waits in one line.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="edgerouter-spool", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Run `call` in the thread, then `done(result, error)` on the event loop."""
        self._jobs.put((call, done))

    async def run(self, call: Callable[[], T]) -> T:
        """Run `call` in the thread and return what it returns; it runs to its end even when the caller is cancelled."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(result: T | None, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

        self.submit(call, done)
        return await future

    async def stop(self) -> None:
        """Finish what is in line, then end."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, done = job
            result: Any = None
            error: BaseException | None = None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001  (whoever asked gets it)
                error = raised
            try:
                self._loop.call_soon_threadsafe(done, result, error)
            except RuntimeError:
                return  # the event loop is closed: nobody waits for answers any more
            # a result must not live on in this frame until the next job comes
            del job, call, done, result, error
