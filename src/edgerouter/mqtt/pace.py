"""Keeps to a service's limit of publishes a second."""

from __future__ import annotations

import time
from math import inf
from typing import Final

_BURST: Final = 10
"""A tenth of the limit may be sent at once, so that no second of the service's clock sees more than the limit."""


class Pace:
    """A bucket of tokens, one for each publish.

    Args:
        per_second: most publishes in any second.
        bytes_per_second: bytes of payload on average; a message may be larger, and the next one waits for longer.
    """

    def __init__(self, per_second: float, bytes_per_second: float | None = None) -> None:
        self._burst = max(1.0, per_second / _BURST)
        self._rate = max(per_second - self._burst, per_second / 2)
        self._tokens = self._burst
        self._bytes_rate = bytes_per_second or inf
        self._bytes_free = self._bytes_burst = self._bytes_rate / _BURST
        self._at = time.monotonic()

    def take(self, size: int) -> bool:
        """Take a token for a payload of this size; returns false when there is none."""
        now = time.monotonic()
        passed, self._at = now - self._at, now
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        if self._bytes_rate < inf:
            self._bytes_free = min(self._bytes_burst, self._bytes_free + passed * self._bytes_rate)
        if self._tokens < 1 or self._bytes_free <= 0:
            return False
        self._tokens -= 1
        self._bytes_free -= size
        return True

    @property
    def wait(self) -> float:
        """Seconds until there are tokens for half a burst: to wake for each of them would cost more than to send."""
        return max(0.001, (max(1.0, self._burst / 2) - self._tokens) / self._rate, -self._bytes_free / self._bytes_rate)
