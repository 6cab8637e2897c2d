"""Opens sinks for their driver: those that block in a separate thread, all others on the caller's event loop.

A sink that declares `blocking = True` may call a synchronous client. Its `open`, `write` and `holds` run as they are written, but
on an event loop in a separate thread, so that only the sink itself waits. Writes of several workers take turns there.
This is not part of `tasks`, which know nothing of the contracts: it opens a sink.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, cast

from edgerouter.errors import Unavailable
from edgerouter.message import Message
from edgerouter.outcome import Outcome
from edgerouter.sink import Limits, Sink, SinkContext

T = TypeVar("T")

_MOST_HUNG: Final = 3
"""Threads of one sink that did not end when they should have and still run."""


class SinkOpener:
    """Opens sinks of one class, one after another."""

    def __init__(self, plugin: type[Sink[Any]]) -> None:
        self._plugin = plugin
        self._hung: list[threading.Thread] = []

    @asynccontextmanager
    async def open(self, config: Any, context: SinkContext) -> AsyncIterator[Sink[Any]]:
        """Enter the sink's `open`, and leave it on exit.

        Raises:
            Unavailable: as the sink's `open`; or earlier threads of a blocking sink hang.
        """
        if not self._plugin.blocking:
            async with self._plugin.open(config, context) as sink:
                yield sink
            return
        self._hung = [thread for thread in self._hung if thread.is_alive()]
        if len(self._hung) >= _MOST_HUNG:
            raise Unavailable(f"{len(self._hung)} earlier attempts of this sink still hang in its client")
        own = _OwnLoop(self._plugin, config, context)
        self._hung.append(own.thread)
        opened = await own.opened()
        try:
            yield _InThread(opened, own)
        finally:
            await own.close()
            self._hung.remove(own.thread)


class _InThread(Sink[Any]):
    """A blocking sink as the router sees it."""

    def __init__(self, sink: Sink[Any], own: _OwnLoop) -> None:
        self._sink = sink
        self._own = own

    @classmethod
    def open(cls, config: Any, context: SinkContext) -> Any:
        raise NotImplementedError("it is open")

    @property
    def limits(self) -> Limits:
        return self._sink.limits

    @property
    def stable_batches(self) -> bool:
        return self._sink.stable_batches

    @property
    def partitioned(self) -> bool:
        return self._sink.partitioned

    @property
    def ordered(self) -> bool:
        return self._sink.ordered

    def size_of(self, message: Message) -> int:
        return self._sink.size_of(message)

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        return self._sink.sizes_of(messages)

    def partition_of(self, message: Message) -> Hashable:
        return self._sink.partition_of(message)

    def order_of(self, message: Message) -> Hashable:
        return self._sink.order_of(message)

    async def holds(self, batch: Sequence[Message]) -> bool:
        return await self._own.call(lambda: self._sink.holds(batch))

    async def write(self, batch: Sequence[Message]) -> Outcome:
        return await self._own.call(lambda: self._sink.write(batch))


class _OwnLoop:
    """A thread with an event loop, on which one sink is open.

    The thread is a daemon: a client that hangs for ever does not keep the process from ending.
    """

    def __init__(self, plugin: type[Sink[Any]], config: Any, context: SinkContext) -> None:
        self._outer = asyncio.get_running_loop()
        self._opened: asyncio.Future[Sink[Any]] = self._outer.create_future()
        self._ended: asyncio.Future[None] = self._outer.create_future()
        self._inner = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._keeper = self._inner.create_task(self._keep(plugin, config, context))
        self.thread = threading.Thread(target=self._work, name=f"sink {context.name}", daemon=True)
        self.thread.start()

    async def opened(self) -> Sink[Any]:
        """Wait until the sink is open."""
        try:
            await asyncio.wait((self._opened,))
        except asyncio.CancelledError:
            self._ask(self._keeper.cancel)
            raise
        return self._opened.result()

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Await something in the thread. One that is cancelled is cancelled there, and waited for until it has ended."""
        done: asyncio.Future[T] = self._outer.create_future()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            task = asyncio.ensure_future(cast("Coroutine[Any, Any, T]", make()))
            tasks.append(task)
            task.add_done_callback(lambda task: self._call_outside(_settle, done, task))

        def cancel() -> None:
            for task in tasks:
                task.cancel()

        if not self._ask(start):
            raise Unavailable("the sink's thread has ended")
        while not done.done():
            try:
                await asyncio.wait((done,))
            except asyncio.CancelledError:
                self._ask(cancel)
        return done.result()

    async def close(self) -> None:
        """Leave the sink's `open` in the thread, and end the thread."""
        self._ask(self._closing.set)
        await asyncio.wait((self._ended,))
        self.thread.join()
        self._ended.result()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=lambda: self._inner) as runner:
                runner.run(asyncio.wait_for(self._keeper, None))  # a runner takes a coroutine, not a task
        except BaseException as caught:  # noqa: BLE001  (whatever it is belongs to the one who waits)
            error = caught if isinstance(caught, Exception) else RuntimeError(f"the plugin ended its thread: {caught!r}")
        self._call_outside(self._over, error)

    async def _keep(self, plugin: type[Sink[Any]], config: Any, context: SinkContext) -> None:
        async with plugin.open(config, context) as sink:
            self._call_outside(self._is_open, sink)
            await self._closing.wait()

    def _is_open(self, sink: Sink[Any]) -> None:
        if not self._opened.done():
            self._opened.set_result(sink)

    def _over(self, error: BaseException | None) -> None:
        """End what waits in the outer loop."""
        waiter: asyncio.Future[Any] = self._ended if self._opened.done() else self._opened
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
            waiter.exception()  # or asyncio complains when the waiter is gone

    def _call_outside(self, what: Callable[..., None], *arguments: Any) -> None:
        """Call something in the outer loop, from the thread."""
        with contextlib.suppress(RuntimeError):  # it is closed: the process ends
            self._outer.call_soon_threadsafe(what, *arguments)

    def _ask(self, what: Callable[[], Any]) -> bool:
        """Call something in the thread, from the outer loop; False when the thread has ended."""
        try:
            self._inner.call_soon_threadsafe(what)
        except RuntimeError:
            return False
        return True


def _settle(done: asyncio.Future[T], task: asyncio.Task[T]) -> None:
    """Pass on how a task ended."""
    if done.done():
        return
    if task.cancelled():
        done.cancel()
    elif (error := task.exception()) is not None:
        done.set_exception(error)
    else:
        done.set_result(task.result())
