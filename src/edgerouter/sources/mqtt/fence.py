"""Determines which acknowledgements the broker has read: it answers a PINGREQ after everything written before it.

An acknowledgement that was written may never be read: the connection breaks, or the process is killed, while it waits in a socket.
Then the broker resends the message. So acknowledged messages are remembered, here and by the receipts in the spool, until a
PINGRESP proves that the broker has read their acknowledgements. Only a bounded number of messages is accepted beyond that, because
this many may arrive twice if they cannot be recognised.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from edgerouter.source import Confirmation

PINGREQ: Final = b"\xc0\x00"
_EVERY: Final = 0.1
"""Shortest interval in seconds between two PINGREQs, unless much is unconfirmed."""
_SHARE: Final = 8
"""A PINGREQ is sent with each such fraction of the bound, regardless of the time."""


class Answered(Protocol):
    """Stored messages that were received together."""

    answered: bool
    """True if all their acknowledgements were written to the connection that they arrived on."""

    @property
    def received(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def confirmation(self) -> Confirmation: ...


BatchT = TypeVar("BatchT", bound=Answered)


class Unconfirmed(Generic[BatchT]):
    """Stored and acknowledged batches whose acknowledgements the broker may not have read.

    Args:
        most: most messages, of these and of those still to be acknowledged; `None` if the broker keeps no session, so that
            nothing can arrive twice.
        most_bytes: most bytes of these messages.
    """

    def __init__(self, most: int | None, most_bytes: int) -> None:
        self._can_come_twice = most is not None
        # one may be accepted at the moment that former connections are resolved
        self.most = sys.maxsize if most is None else max(1, most - 1)
        self.most_bytes = sys.maxsize if most is None else most_bytes
        self.messages = 0
        """Messages acknowledged on the current connection."""
        self.bytes = 0
        self.number = 0
        """Number of batches acknowledged on any connection."""
        self._answered: deque[tuple[int, float, BatchT]] = deque()
        """Number, time of the acknowledgement, batch."""
        self._former: list[BatchT] = []
        self._last = (0, 0)
        """Range of `_former` that was answered on the previous connection."""
        self._resolved = True

    @property
    def age(self) -> float:
        """Seconds since the oldest acknowledgement on the current connection that the broker may not have read; 0 without one."""
        return time.monotonic() - self._answered[0][1] if self._answered else 0.0

    def add(self, batch: BatchT, *, answered: bool) -> None:
        """Add a stored batch; `answered` if all its acknowledgements are written to the current connection."""
        batch.answered = answered
        if not self._can_come_twice:
            batch.confirmation.confirm()
            return
        if not answered and not self._resolved:
            self._former.append(batch)
            return
        self.number += 1
        self._answered.append((self.number, time.monotonic(), batch))
        self.messages += batch.received
        self.bytes += batch.size

    def disconnected(self) -> None:
        """Record the loss of the connection: the broker may have read everything, a part, or nothing."""
        if self._answered:
            self._last = (len(self._former), len(self._former) + len(self._answered))
            self._former += [batch for _, _, batch in self._answered]
            self._answered.clear()
        self.messages = self.bytes = 0
        self._resolved = False

    def connected(self) -> None:
        """Record a new connection."""
        self.disconnected()
        self._last = (0, 0)

    def read_to_the_end(self) -> None:
        """Record that the broker read everything on the previous connection before it closed its half."""
        first, end = self._last
        self._last = (0, 0)
        for batch in self._former[first:end]:
            batch.confirmation.confirm()
        del self._former[first:end]

    def former(self) -> Iterator[BatchT]:
        """Yield batches acknowledged on former connections, oldest first, which the broker may resend."""
        return iter(self._former)

    def resolve(self) -> None:
        """Forget former connections: the broker has resent everything it wants acknowledged again, and it has been acknowledged."""
        self._resolved = True
        former, self._former = self._former, []
        self._last = (0, 0)
        for batch in former:
            self.add(batch, answered=True)

    def confirm(self, number: int | None = None) -> None:
        """Record that the broker has read the current connection's acknowledgements up to this batch; by default, all."""
        answered = self._answered
        while answered and (number is None or answered[0][0] <= number):
            _, _, batch = answered.popleft()
            self.messages -= batch.received
            self.bytes -= batch.size
            batch.confirmation.confirm()


class Fence(Generic[BatchT]):
    """Probes on one connection how far the broker has read, if anything is unconfirmed.

    Args:
        unconfirmed: acknowledged batches.
        send: writes bytes to the connection at once.
        passed: called when the broker has read further.
    """

    def __init__(self, unconfirmed: Unconfirmed[BatchT], send: Callable[[bytes], None], passed: Callable[[], None]) -> None:
        self._unconfirmed = unconfirmed
        self._send = send
        self._passed = passed
        self._pings: deque[int] = deque()
        """Unanswered PINGREQs in the order sent: the last batch acknowledged before each; -1 for a keep-alive."""
        self._asked_number = unconfirmed.number
        self._asked_messages = 0
        self._asked_at = 0.0

    def send(self, acks: bytes) -> None:
        """Send acknowledgements of the batches just added."""
        due = time.monotonic() - self._asked_at >= _EVERY
        unconfirmed = self._unconfirmed
        self._asked_messages += len(acks) // 4
        if due or self._asked_messages * _SHARE >= unconfirmed.most or unconfirmed.bytes * _SHARE >= unconfirmed.most_bytes:
            self._ask(acks)
        else:
            self._send(acks)

    def tick(self) -> None:
        """Send a PINGREQ for batches not covered by one yet."""
        if self._unconfirmed.number > self._asked_number and time.monotonic() - self._asked_at >= _EVERY:
            self._ask(b"")

    def keep_alive_sent(self) -> None:
        """Record a PINGREQ sent by the MQTT client."""
        self._pings.append(-1)

    def answered(self) -> bool:
        """Handle a PINGRESP. Return True if it answers a keep-alive, and so belongs to the MQTT client."""
        if not self._pings:
            return True
        number = self._pings.popleft()
        if number < 0:
            return True
        self._unconfirmed.confirm(number)
        self._passed()
        return False

    def _ask(self, acks: bytes) -> None:
        self._asked_at = time.monotonic()
        self._asked_messages = 0
        self._asked_number = self._unconfirmed.number
        self._pings.append(self._asked_number)
        self._send(acks + PINGREQ)
