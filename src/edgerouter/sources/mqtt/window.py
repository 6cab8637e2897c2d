"""Learns the number of unacknowledged messages that the broker sends before it waits.

No broker announces it: the receive maximum of MQTT 5 is only the client's bound, and 3.1.1 has none. A broker with a small window
(RabbitMQ's prefetch of 10) would wait for the rest of the commit interval with every window, while the socket is drained. So the
window is learned from that silence: everything arrived in the first half of the time between two acknowledgements, up to the same
number as before. A broker without a window does not stop in this way, repeatedly, at one number; and one that sends more than the
window that it is assumed to have does not wait there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_TIMES: Final = 4
"""A broker is assumed to wait once it has stopped this many times more often at one number than otherwise."""
_MESSAGES: Final = 8
"""Least messages sent meanwhile: single messages with pauses between them are common."""
_MOST_TIMES: Final = 32
"""Most such times required after a wrong assumption."""
_LATE: Final = 4
"""The broker does not wait if this many consecutive acknowledgements were not followed soon by messages."""


class SenderWindow:
    """Detects when the broker waits for acknowledgements.

    Args:
        known: unacknowledged messages after which the broker is assumed to wait, until it sends more.
        most: the same for a broker that has sent more.
        clock: returns seconds.
    """

    def __init__(self, known: int, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._known = known
        self._most = most
        self._clock = clock
        self._learned = 0
        self._cycle = 0.0
        """Seconds between acknowledgements while the broker waited, as short as when the window was learned."""
        self._ceiling = 0
        self._seen = 0
        self._times = _TIMES
        self._late = 0
        self._judge = False
        """True if the acknowledgements were sent early: a broker that was waiting soon sends more."""
        self._outstanding = 0
        self._acknowledged_at = clock()
        self._first_at = self._last_at = 0.0
        self._full = False

    @property
    def size(self) -> int:
        """Unacknowledged messages after which the broker is assumed to wait."""
        return self._learned or self._known

    def arrived(self, outstanding: int) -> bool:
        """Record the number of unacknowledged messages. Return True if the broker waits."""
        if outstanding > self._outstanding:
            self._outstanding = outstanding
            self._last_at = self._clock()
            if not self._first_at:
                self._first_at = self._last_at
                if self._judge:
                    self._judge_pause(self._first_at - self._acknowledged_at)
            if self._learned and outstanding > self._learned:
                self._forget()
            if outstanding > self._known:
                self._known = max(self._most, outstanding)
        self._full = outstanding >= self.size
        return self._full

    def acknowledged(self, outstanding: int) -> None:
        """Record the number of messages still unacknowledged."""
        if outstanding >= self._outstanding:
            return
        now = self._clock()
        if not self._learned and self._first_at:
            self._learn(now)
        self._judge = self._learned > 0 and self._full
        self._outstanding = outstanding
        self._acknowledged_at = now
        self._first_at = 0.0
        self._full = False

    def _learn(self, now: float) -> None:
        cycle = now - self._acknowledged_at
        if self._last_at - self._acknowledged_at > cycle / 2:
            self._seen = max(0, self._seen - 1)
            return
        if self._outstanding != self._ceiling:
            self._ceiling, self._seen, self._cycle = self._outstanding, 0, cycle
        self._seen += 1
        self._cycle = min(self._cycle, cycle)
        if self._seen >= self._times and self._seen * self._ceiling >= _MESSAGES and self._ceiling < self._known:
            self._learned = self._ceiling
            self._late = 0

    def _judge_pause(self, gap: float) -> None:
        self._judge = False
        self._late = self._late + 1 if gap > self._cycle / 2 else 0
        if self._late >= _LATE:
            self._forget()

    def _forget(self) -> None:
        self._learned = self._ceiling = self._seen = 0
        self._judge = False
        self._times = min(_MOST_TIMES, self._times * 2)
