"""When the spool commits: one transaction at a time, everything that waits in one, and again when one fails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar

from edgerouter.errors import SpoolError
from edgerouter.spool.log.grouping import Append
from edgerouter.spool.sqlite.db.transaction import Transaction, Written
from edgerouter.spool.sqlite.thread import DatabaseThread

T = TypeVar("T")
_FIRST_RETRY: Final = 0.1
_MAX_RETRY: Final = 2.0
_LOOK_AGAIN: Final = 0.25
"""Seconds between two looks whether a full spool has room."""


class Owner(Protocol):
    """Who knows what is to be written."""

    def admit(self, waiting: deque[Append]) -> list[Append]:
        """Take off the deliveries that there is room for, in order."""

    def prepare(self, appends: list[Append]) -> Transaction:
        """Everything that is to be written just now."""

    def write(self, transaction: Transaction) -> Written:
        """Write it; called in the database thread."""

    def committed(self, transaction: Transaction, appends: list[Append], written: Written) -> None:
        """It is on disk."""

    def failed(self, transaction: Transaction, appends: list[Append], error: BaseException) -> SpoolError:
        """Nothing of it is on disk."""


class Commits:
    """Starts transactions.

    A delivery is written as soon as no transaction runs. What is only settled waits until `interval` after the last commit, and
    goes along with deliveries that come sooner.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: DatabaseThread, owner: Owner, interval: float) -> None:
        self._loop = loop
        self._thread = thread
        self._owner = owner
        self._interval = interval
        self._waiting: deque[Append] = deque()
        self._between: deque[tuple[Callable[[], object], asyncio.Future[object]]] = deque()
        self._flushes: list[asyncio.Future[None]] = []
        self._covered: list[asyncio.Future[None]] = []
        self._dirty = False
        self._soon = False
        self._running = False
        self._closed = False
        self._failures = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._last = 0.0  # when the last transaction ended
        self._appends_from = 0.0  # when deliveries may be tried again after a failure
        self._all_from = 0.0  # when anything may be tried again after a failure
        self.count = 0
        """Commits since the start."""

    @property
    def waiting(self) -> deque[Append]:
        """Deliveries that are not stored yet."""
        return self._waiting

    async def append(self, append: Append) -> None:
        """Return when the delivery is stored."""
        if self._closed:
            raise SpoolError("the spool is closed")
        self._waiting.append(append)
        self.begin()
        try:
            await append.stored
        except asyncio.CancelledError:
            if append in self._waiting:
                self._waiting.remove(append)
            raise

    def touch(self) -> None:
        """There is something to write, with the next deliveries or soon."""
        self._dirty = True
        if not self._soon and not self._running:
            # not at once: whoever says so may have more to say
            self._soon = True
            self._loop.call_soon(self._begin_soon)

    async def between(self, call: Callable[[], T]) -> T:
        """Do something on the event loop while no transaction runs."""
        if not self._running:
            return call()
        future: asyncio.Future[object] = self._loop.create_future()
        self._between.append((call, future))
        return await future  # type: ignore[return-value]  # it is what `call` returns

    async def flush(self) -> None:
        """Return when everything said so far is on disk.

        Raises:
            SpoolError: it could not be written just now; it is tried again by itself.
        """
        if not self._dirty and not self._running:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        (self._flushes if self._dirty else self._covered).append(future)
        self.begin()
        await future

    async def safe(self) -> None:
        """Return when everything said so far is on disk, however long that takes."""
        while True:
            try:
                return await self.flush()
            except SpoolError:
                await asyncio.sleep(_LOOK_AGAIN)

    async def close(self) -> None:
        """Take no more deliveries, and write down what is settled as well as that goes."""
        try:
            await self.flush()
        finally:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            while self._between:
                _answer(*self._between.popleft())
            while self._waiting:
                append = self._waiting.popleft()
                if not append.stored.done():
                    append.stored.set_exception(SpoolError("the spool is closed"))

    def begin(self) -> None:
        """Start a transaction if there is reason to."""
        if self._running or self._closed:
            return
        while self._between:
            _answer(*self._between.popleft())
        now = self._loop.time()
        if now < self._all_from and not self._flushes:
            self._again(self._all_from - now)
            return
        appends = self._owner.admit(self._waiting) if self._waiting and now >= self._appends_from else []
        if not appends:
            if not self._dirty:
                if self._waiting:
                    self._again(_LOOK_AGAIN)
                return
            due = self._last + self._interval
            if now < due and not self._flushes:
                self._again(due - now)
                return
        self._start(appends)

    def _start(self, appends: list[Append]) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._running = True
        self._dirty = False
        self._covered, self._flushes = self._flushes, []
        transaction = self._owner.prepare(appends)
        self._thread.submit(partial(self._owner.write, transaction), partial(self._done, transaction, appends))

    def _done(self, transaction: Transaction, appends: list[Append], written: Written | None, error: BaseException | None) -> None:
        self._running = False
        self._last = self._loop.time()
        covered, self._covered = self._covered, []
        if written is None:
            assert error is not None
            self._failed(transaction, appends, error, covered)
        else:
            self._failures = 0
            self._appends_from = self._all_from = 0.0
            self.count += 1
            self._owner.committed(transaction, appends, written)
            for future in covered:
                if not future.done():
                    future.set_result(None)
        self.begin()

    def _failed(
        self, transaction: Transaction, appends: list[Append], error: BaseException, covered: list[asyncio.Future[None]]
    ) -> None:
        self._waiting.extendleft(reversed([append for append in appends if not append.stored.done()]))
        self._dirty = True
        reason = self._owner.failed(transaction, appends, error)
        for future in covered:
            if not future.done():
                future.set_exception(reason)
        delay = min(_MAX_RETRY, _FIRST_RETRY * 2**self._failures)
        self._failures += 1
        self._appends_from = self._last + delay
        if not appends:
            # settling alone makes room, so it is tried at once after a failure of deliveries, but not after one of its own
            self._all_from = self._last + delay

    def _again(self, seconds: float) -> None:
        when = self._loop.time() + seconds
        if self._timer is not None:
            # uvloop's handle of a moment that is now does not tell it
            if self._timer_due <= when:
                return
            self._timer.cancel()
        self._timer_due = when
        self._timer = self._loop.call_at(when, self._timed)

    def _begin_soon(self) -> None:
        self._soon = False
        self.begin()

    def _timed(self) -> None:
        self._timer = None
        self.begin()


def _answer(call: Callable[[], object], future: asyncio.Future[object]) -> None:
    if future.cancelled():
        return
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001  (whoever asked gets it)
        future.set_exception(error)
