"""Adaptive concurrency: how many workers may write at once, halved when the service throttles, grown again while it does not."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

GROW_AFTER = 10
"""Successful writes at the present width before one more worker may write."""


class ConcurrencyLimiter:
    """Lets at most `width` workers in; additive increase, multiplicative decrease. It may be closed for a while."""

    def __init__(self, width: int) -> None:
        self._most = width
        self._inside = 0
        self._successes = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed_until = 0.0
        self.width = width

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    async def acquire(self) -> None:
        """Wait for the permission to write."""
        while True:
            if self._closed_until and (closed := self._closed_until - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(closed)
            elif self._inside >= self.width:
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                await waiter
            else:
                break
        self._inside += 1

    def release(self) -> None:
        """End a write that was permitted."""
        self._inside -= 1
        if self._waiters:
            for _ in range(self.width - self._inside):
                self._let_one_in()

    def hold(self, seconds: float) -> None:
        """The service asked for so long a wait: until then no worker may write."""
        self._closed_until = max(self._closed_until, asyncio.get_running_loop().time() + seconds)

    def throttled(self) -> None:
        """The service asked for less."""
        self.width = max(1, self.width // 2)
        self._successes = 0

    def succeeded(self) -> None:
        """A write went through."""
        if self.width < self._most:
            self._successes += 1
            if self._successes >= GROW_AFTER:
                self._successes = 0
                self.width += 1
                self._let_one_in()

    def _let_one_in(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
