"""Rate limits: a token bucket for messages a second and one for bytes a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edgerouter.config.model import RatePolicy


class RateLimit:
    """Waits before a write until both buckets allow it. A write larger than a second's worth waits for the debt to be paid.

    Args:
        policy: the user's `rate`.
        clock: monotonic seconds.
    """

    def __init__(self, policy: RatePolicy, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets = [
            _Bucket(rate, clock()) if rate is not None else None
            for rate in (policy.messages, float(policy.bytes) if policy.bytes is not None else None)
        ]

    async def acquire(self, messages: int, size: int) -> None:
        """Return when so many messages of so many bytes together may be sent."""
        wait = 0.0
        for bucket, amount in zip(self._buckets, (messages, size), strict=True):
            if bucket is not None:
                wait = max(wait, bucket.take(amount, self._clock()))
        if wait > 0:
            await asyncio.sleep(wait)


class _Bucket:
    """Holds a second's worth at most; may go into debt, which later calls wait for."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = 0.0
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """Take, and say how many seconds to wait first."""
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= amount
        return -self._tokens / self._rate if self._tokens < 0 else 0.0
