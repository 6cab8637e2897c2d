"""Keeps to a service's limit of publishes a second."""

from __future__ import annotations

import time
from typing import Final

_BURST: Final = 10
"""A tenth of the limit may be sent at once, so that no second of the service's clock sees more than the limit."""


class Pace:
    """A bucket of tokens, one for each publish.

    Args:
        per_second: most publishes in any second.
    """

    def __init__(self, per_second: float) -> None:
        self._burst = max(1.0, per_second / _BURST)
        self._rate = max(per_second - self._burst, per_second / 2)
        self._tokens = self._burst
        self._at = time.monotonic()

    def take(self) -> bool:
        """Take a token; returns false when there is none."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    @property
    def wait(self) -> float:
        """Seconds until the next token."""
        return max(0.001, (1 - self._tokens) / self._rate)
