"""Rhythm of reading: whenever something comes, or, under steady traffic, once for each delivery.

Nothing is acknowledged before the commit, so what comes while one runs, or in the pause after it, may as well wait in the socket:
reading it packet by packet costs a turn of the event loop each time. A broker that waits for acknowledgements (see `window`) sends
right after them and is then silent; what comes later than half of the time between two acknowledgements comes by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_MUCH: Final = 64 * 1024
"""Bytes of a delivery from which on the traffic is heavy: then reading overlaps with the commit."""
_LONGEST: Final = 32
"""Deliveries after which one is read as it comes, to find out whether the traffic is still steady."""
_EQUAL: Final = 4
"""Deliveries of equal size in a row, after which the broker may be waiting for acknowledgements."""


class Rhythm:
    """Decides when the connection is read.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._acknowledged_at = clock()
        self._cycle = 0.0
        self._bytes = 0
        self._deliveries = 0
        self._equal = 0
        self._messages = 0

    def acknowledged(self) -> None:
        """Record that acknowledgements were sent."""
        self._bytes = 0
        now = self._clock()
        self._cycle, self._acknowledged_at = now - self._acknowledged_at, now

    def may_wait(self, size: int) -> bool:
        """Return True if reading may wait after these bytes, which came while the router was busy with a delivery."""
        self._deliveries = self._equal = 0
        self._bytes += size
        return self._bytes < _MUCH and self._clock() - self._acknowledged_at > self._cycle / 2

    def may_wait_again(self, size: int, messages: int) -> bool:
        """Return True if reading may wait again after this was read for a delivery."""
        self._deliveries += 1
        self._equal = self._equal + 1 if messages == self._messages else 0
        self._messages = messages
        return 0 < size < _MUCH and self._deliveries < _LONGEST and self._equal < _EQUAL
