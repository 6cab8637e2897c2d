"""Detects whether a plugin blocks the event loop, even on a busy machine.

Blocking repeats with each call, and the kernel does not explain it: time for which the thread was runnable but
waiting for a CPU is not counted, and the best of several attempts counts. Since Linux 6.12 the scheduler may keep a sleeping thread
in its queue for a while, and counts that as waiting: the wait counts only if the kernel took the CPU away meanwhile.
"""

from __future__ import annotations

import asyncio
import resource
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar

MOST_SECONDS: Final = 0.05
"""Longest time for which a plugin may block the event loop at once."""
_ATTEMPTS: Final = 5

T = TypeVar("T")

_watched: ContextVar[LoopHolds | None] = ContextVar("watched", default=None)


@dataclass(slots=True)
class LoopHolds:
    """Longest block of the event loop by one call of a plugin, and by everything that it started."""

    longest: float = 0.0
    """Duration in seconds."""
    where: str = ""
    """Callback or task that blocked."""


async def never_holds_the_loop(call: Callable[[], Awaitable[T]], what: str, most: float = MOST_SECONDS) -> T:
    """Call a plugin and check that neither the call nor anything it starts blocks the event loop.

    Args:
        call: repeated up to five times if the loop was blocked, so a first call may import a module.
        what: name of the call, for the message.
        most: seconds.

    Returns:
        Result of the last call.

    Raises:
        AssertionError: each call blocked the loop for longer.
    """
    held: list[LoopHolds] = []
    for _ in range(_ATTEMPTS):
        holds = LoopHolds()
        with watching(holds):
            # in a separate task, because the current task's work before its first wait belongs to a callback that has already begun
            result = await asyncio.ensure_future(_coroutine(call))
        held.append(holds)
        if holds.longest <= most:
            return result
    least = min(held, key=lambda holds: holds.longest)
    raise AssertionError(
        f"{what} held the event loop for {least.longest * 1000:.0f} ms and more, each of {_ATTEMPTS} times, in {least.where}: "
        "every sink and source waits meanwhile. Call what blocks with `await asyncio.to_thread(...)`, or declare "
        "`blocking: ClassVar[bool] = True` on a sink"
    )


@contextmanager
def watching(holds: LoopHolds) -> Iterator[None]:
    """Measure all callbacks on the running loop that are created in this context, or in one derived from it."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        raise TypeError(f"only asyncio's own event loops can be watched, not {type(loop).__name__}")
    token = _watched.set(holds)
    run = asyncio.Handle._run  # noqa: SLF001  (asyncio has no public way to see each callback)

    def measured(handle: Any) -> Any:
        if handle._loop is not loop or handle._context.get(_watched) is not holds:  # noqa: SLF001  (see above)
            return run(handle)
        began, before = time.monotonic(), _Waiting.now()
        try:
            return run(handle)
        finally:
            held = time.monotonic() - began - _Waiting.now().since(before)
            if held > holds.longest:
                holds.longest, holds.where = held, _name_of(handle)

    asyncio.Handle._run = measured  # type: ignore[method-assign, assignment]  # noqa: SLF001  (see above)
    try:
        yield
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]  # noqa: SLF001  (see above)
        _watched.reset(token)


def _name_of(handle: Any) -> str:
    """Name the callback without any `repr`: those of client objects have side effects."""
    callback = handle._callback  # noqa: SLF001  (asyncio has no public way to see each callback)
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"task {task.get_name()} ({getattr(task.get_coro(), '__qualname__', 'a coroutine')})"
    return str(getattr(callback, "__qualname__", type(callback).__qualname__))


async def _coroutine(call: Callable[[], Awaitable[T]]) -> T:
    return await call()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Waiting of this thread for a processor, as the kernel counts it."""

    seconds: float = 0.0
    """Time for which it was runnable and did not run."""
    preempted: int = 0
    """Number of times that the kernel took the processor away."""

    @classmethod
    def now(cls) -> _Waiting:
        """Return what was counted so far; zeros if the kernel does not report it."""
        try:
            with open(f"/proc/self/task/{threading.get_native_id()}/schedstat", "rb", buffering=0) as file:  # noqa: PTH123  (read often)
                nanoseconds = int(file.read().split()[1])
        except (OSError, ValueError, IndexError):
            return cls()
        return cls(nanoseconds / 1e9, resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw)

    def since(self, before: _Waiting) -> float:
        """Return the seconds that the thread waited; 0 if it gave the processor up by itself each time."""
        return self.seconds - before.seconds if self.preempted > before.preempted else 0.0
