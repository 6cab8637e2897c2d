"""The schedule of commits: when the next one is due, how long to back off after a failure, and what waits for its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from edgerouter.errors import SpoolError

T = TypeVar("T")
LOOK_AGAIN: Final = 0.25
"""Seconds between two looks whether a full spool has room."""
_FIRST_RETRY: Final = 0.1
_MAX_RETRY: Final = 2.0
_FLOWING: Final = 0.25
"""Seconds between two deliveries up to which another one is expected soon: it takes along what is settled."""
_FEW: Final = 100
"""Settled messages that may wait for it: so many are repeated by a crash."""


class Alarm:
    """A timer with one time: the earliest that was asked for.

    Args:
        call: called when it goes off.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._call = call
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def set(self, seconds: float) -> None:
        """Go off after so many seconds, unless it goes off earlier anyhow."""
        when = self._loop.time() + seconds
        if self._timer is not None:
            # kept here, because uvloop's handle has no time when it is due in less than half a millisecond
            if self._due <= when:
                return
            self._timer.cancel()
        self._due = when
        self._timer = self._loop.call_at(when, self._went_off)

    def cancel(self) -> None:
        """Do not go off."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _went_off(self) -> None:
        self._timer = None
        self._call()


class Schedule:
    """Times of commits, in seconds of the event loop's clock.

    Args:
        interval: between two commits that only settle.
    """

    def __init__(self, interval: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval = interval
        self._failures = 0
        self._ended = 0.0  # when the last transaction ended
        self._appended = float("-inf")  # when the last one with deliveries did
        self._flowing = False
        self._appends_from = 0.0  # when deliveries may be tried again after a failure
        self._all_from = 0.0  # when anything may be tried again after a failure

    @property
    def appends_due(self) -> bool:
        """Deliveries may be tried."""
        return self._loop.time() >= self._appends_from

    @property
    def blocked_for(self) -> float:
        """Seconds until anything may be tried again after a failure; not above 0 = now."""
        return self._all_from - self._loop.time()

    def settling_in(self, settled: int) -> float:
        """Seconds until a transaction without deliveries is due, when this many messages are settled; not above 0 = now."""
        wait = _FLOWING if self._flowing and settled <= _FEW else 0.0
        return self._ended + max(wait, self._interval) - self._loop.time()

    def succeeded(self, *, appends: bool) -> None:
        """Note that a transaction is on disk, with deliveries or without."""
        self._ended = now = self._loop.time()
        self._flowing = now - self._appended < _FLOWING
        if appends:
            self._appended = now
        self._failures = 0
        self._appends_from = self._all_from = 0.0

    def failed(self, *, appends: bool) -> None:
        """Note that a transaction failed, with deliveries or without."""
        self._ended = self._loop.time()
        delay = min(_MAX_RETRY, _FIRST_RETRY * 2**self._failures)
        self._failures += 1
        self._appends_from = self._ended + delay
        if not appends:
            # settling alone makes room, so it is tried at once after a failure of deliveries, but not after its own failure
            self._all_from = self._ended + delay


class Flushes:
    """Callers that wait until everything said so far is on disk."""

    def __init__(self) -> None:
        self._next: list[asyncio.Future[None]] = []
        self._running: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        """Some wait for the next transaction."""
        return bool(self._next)

    def add(self, *, running: bool) -> asyncio.Future[None]:
        """Wait for the transaction that runs, or for the next one."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._running if running else self._next).append(future)
        return future

    def begin(self) -> None:
        """Bind those who wait for the next transaction to the one that starts."""
        self._running, self._next = self._next, []

    def end(self, error: SpoolError | None = None) -> None:
        """Answer those who wait for the transaction that has ended."""
        waiting, self._running = self._running, []
        for future in waiting:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


class Between:
    """Calls that must not run while a transaction does."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Callable[[], object], asyncio.Future[object]]] = deque()

    async def add(self, call: Callable[[], T]) -> T:
        """Return what the call returns once it has run."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._calls.append((call, future))
        return await future  # type: ignore[return-value]  # it is what `call` returns

    def run(self) -> None:
        """Run all of them."""
        while self._calls:
            call, future = self._calls.popleft()
            if future.cancelled():
                continue
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001  (the caller gets it)
                future.set_exception(error)
