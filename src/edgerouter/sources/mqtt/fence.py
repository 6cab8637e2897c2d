"""Finding out which acknowledgements the broker has read: it answers a PINGREQ after everything that was written before it.

An acknowledgement that was written may never be read: the connection breaks, or the process is killed, while it waits in a socket.
Then the broker sends the message again. So what was acknowledged is remembered, here and by the receipts in the spool, until a
PINGRESP proves that the broker has read it; and no more than a bound is taken in beyond that, because so much may come twice where
it cannot be recognised.
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
"""Least seconds between two PINGREQs, unless much waits to be confirmed."""
_SHARE: Final = 8
"""A PINGREQ goes out with every part of so many of the bound, whatever the time."""


class Answered(Protocol):
    """Messages received together that are safe."""

    answered: bool
    """All their acknowledgements were written to the connection that they came on."""

    @property
    def received(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def confirmation(self) -> Confirmation: ...


BatchT = TypeVar("BatchT", bound=Answered)


class Unconfirmed(Generic[BatchT]):
    """Batches that are safe and acknowledged, as far as the broker may not have read that.

    Args:
        most: messages, of them and of those that are still to be acknowledged; `None` where the broker keeps no session, so that
            nothing can come twice.
        most_bytes: their bytes.
    """

    def __init__(self, most: int | None, most_bytes: int) -> None:
        self._can_come_twice = most is not None
        # one may be taken in at the moment that former connections are resolved
        self.most = sys.maxsize if most is None else max(1, most - 1)
        self.most_bytes = sys.maxsize if most is None else most_bytes
        self.messages = 0
        """Acknowledged on the present connection."""
        self.bytes = 0
        self.number = 0
        """Counts the batches that were acknowledged on a connection."""
        self._answered: deque[tuple[int, BatchT]] = deque()
        self._former: list[BatchT] = []
        self._last = (0, 0)
        """Those of `_former` that were answered on the connection that ended last."""
        self._resolved = True

    def add(self, batch: BatchT, *, answered: bool) -> None:
        """A batch is safe; `answered` if all its acknowledgements are written to the present connection."""
        batch.answered = answered
        if not self._can_come_twice:
            batch.confirmation.confirm()
            return
        if not answered and not self._resolved:
            self._former.append(batch)
            return
        self.number += 1
        self._answered.append((self.number, batch))
        self.messages += batch.received
        self.bytes += batch.size

    def disconnected(self) -> None:
        """The connection is gone: the broker may have read everything, or a part, or nothing."""
        if self._answered:
            self._last = (len(self._former), len(self._former) + len(self._answered))
            self._former += [batch for _, batch in self._answered]
            self._answered.clear()
        self.messages = self.bytes = 0
        self._resolved = False

    def connected(self) -> None:
        """There is a new connection."""
        self.disconnected()
        self._last = (0, 0)

    def read_to_the_end(self) -> None:
        """The broker had read everything of the connection that ended last before it closed its half."""
        first, end = self._last
        self._last = (0, 0)
        for batch in self._former[first:end]:
            batch.confirmation.confirm()
        del self._former[first:end]

    def former(self) -> Iterator[BatchT]:
        """Batches acknowledged on former connections, oldest first, which the broker may send again."""
        return iter(self._former)

    def resolve(self) -> None:
        """The broker has sent everything of former connections again that it wants acknowledged again, which has been done."""
        self._resolved = True
        former, self._former = self._former, []
        self._last = (0, 0)
        for batch in former:
            self.add(batch, answered=True)

    def confirm(self, number: int | None = None) -> None:
        """The broker has read the acknowledgements of the present connection up to this batch; by default, of all."""
        answered = self._answered
        while answered and (number is None or answered[0][0] <= number):
            _, batch = answered.popleft()
            self.messages -= batch.received
            self.bytes -= batch.size
            batch.confirmation.confirm()


class Fence(Generic[BatchT]):
    """Asks the broker on one connection how far it has read, when there is something to find out.

    Args:
        unconfirmed: what was acknowledged.
        send: writes bytes to the connection at once.
        passed: called when the broker has read more.
    """

    def __init__(self, unconfirmed: Unconfirmed[BatchT], send: Callable[[bytes], None], passed: Callable[[], None]) -> None:
        self._unconfirmed = unconfirmed
        self._send = send
        self._passed = passed
        self._pings: deque[int] = deque()
        """PINGREQs that are not answered, in the order sent: the last batch acknowledged before; -1 for a keep-alive."""
        self._asked_number = unconfirmed.number
        self._asked_messages = 0
        self._asked_at = 0.0

    def send(self, acks: bytes) -> None:
        """Send acknowledgements of what has just been added."""
        due = time.monotonic() - self._asked_at >= _EVERY
        unconfirmed = self._unconfirmed
        self._asked_messages += len(acks) // 4
        if due or self._asked_messages * _SHARE >= unconfirmed.most or unconfirmed.bytes * _SHARE >= unconfirmed.most_bytes:
            self._ask(acks)
        else:
            self._send(acks)

    def tick(self) -> None:
        """Ask about the sequences that were not asked about yet."""
        if self._unconfirmed.number > self._asked_number and time.monotonic() - self._asked_at >= _EVERY:
            self._ask(b"")

    def keep_alive_sent(self) -> None:
        """The MQTT client has sent a PINGREQ of its own."""
        self._pings.append(-1)

    def answered(self) -> bool:
        """A PINGRESP has come. Returns whether it answers a keep-alive, so that the MQTT client has to hear of it."""
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
