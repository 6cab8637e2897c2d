"""Requests on their way to brokers: each waits for the sink's word, and each broker's share is bounded."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

GIVEN_UP_SECONDS: Final = 7200.0
"""Longer than every delay between two writes."""
OVERHEAD: Final = 512
"""Bytes of memory that a waiting message uses beside its payload."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The broker has taken the message."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker never takes the message."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waits:
    """The message waits in the spool."""

    reason: str


Word = Delivered | Refused | Waits
"""The sink's word about a request."""


@dataclass(slots=True)
class Share:
    """Messages that wait for one broker."""

    order: int
    """Order key of its messages: a small number, so that no two brokers in use share a worker of the sink."""
    waiting: dict[str, int] = field(default_factory=dict)
    """Bytes by request, in the order in which they were accepted."""
    bytes: int = 0
    down: str = ""
    """Reason for which the last write failed; empty after one that did not."""
    used_at: float = field(default_factory=time.monotonic)
    """Monotonic seconds of the last write."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of what waits, of one broker and of all together."""

    messages: int = 10_000
    bytes: int = 8 * 1024**2
    all_messages: int = 40_000
    all_bytes: int = 24 * 1024**2


class Progress:
    """Links the requests that the source has accepted with what the sink does, in one router."""

    def __init__(self) -> None:
        self.shares: dict[str, Share] = {}
        """By broker."""
        self.bounds = Bounds()
        self._words: dict[str, asyncio.Future[Word]] = {}
        self._messages = 0
        self._bytes = 0

    def has_room(self, broker: str, size: int) -> bool:
        """Return True if one more message may wait for this broker."""
        share, bounds, size = self.shares.get(broker), self.bounds, size + OVERHEAD
        if self._messages >= bounds.all_messages or self._bytes + size > bounds.all_bytes:
            return False
        return share is None or (len(share.waiting) < bounds.messages and share.bytes + size <= bounds.bytes)

    def accept(self, request: str, broker: str, size: int) -> asyncio.Future[Word]:
        """Note a request; returns what will hold the sink's word."""
        self.note(request, broker, size)
        word: asyncio.Future[Word] = asyncio.get_running_loop().create_future()
        self._words[request] = word
        return word

    def note(self, request: str, broker: str, size: int) -> int:
        """Note a message that waits, one of an earlier run too; returns the order key of its broker."""
        share = self.share(broker)
        if request and request not in share.waiting:
            share.waiting[request] = size + OVERHEAD
            share.bytes += size + OVERHEAD
            self._messages += 1
            self._bytes += size + OVERHEAD
        return share.order

    def forget(self, request: str) -> None:
        """Stop to wait for the sink's word."""
        self._words.pop(request, None)

    def share(self, broker: str) -> Share:
        """Return the share of a broker, with the lowest order key that no other has."""
        share = self.shares.get(broker)
        if share is None:
            taken = {each.order for each in self.shares.values()}
            share = self.shares[broker] = Share(next(key for key in range(len(taken) + 1) if key not in taken))
        return share

    def release(self, broker: str) -> None:
        """Give up the order key of a broker for which nothing waits."""
        share = self.shares.get(broker)
        if share is not None and not share.waiting:
            del self.shares[broker]

    def tidy(self) -> None:
        """Forget messages that had no write for long: the router dead-letters what it gives up on without a call of the sink."""
        due = time.monotonic() - GIVEN_UP_SECONDS
        for broker, share in list(self.shares.items()):
            if share.used_at < due:
                for request in list(share.waiting):
                    self._settle(share, request)
                self.release(broker)

    def started(self, broker: str, first: str) -> None:
        """Note a write that begins with this request: what came before it was settled elsewhere, such as dead-lettered."""
        share = self.share(broker)
        share.used_at = time.monotonic()
        if first in share.waiting:
            for request in list(share.waiting):
                if request == first:
                    break
                self._settle(share, request)

    def settled(self, broker: str, request: str, word: Delivered | Refused) -> None:
        """Note the end of a request."""
        self._settle(self.share(broker), request)
        future = self._words.pop(request, None)
        if future is not None and not future.done():
            future.set_result(word)

    def works(self, broker: str) -> None:
        """Note that a broker answers."""
        self.share(broker).down = ""

    def fails(self, broker: str, reason: str) -> None:
        """Note that a broker does not take messages now, and give the word to all requests that wait for it."""
        share = self.share(broker)
        share.down = reason
        for request in share.waiting:
            future = self._words.pop(request, None)
            if future is not None and not future.done():
                future.set_result(Waits(reason))

    def _settle(self, share: Share, request: str) -> None:
        size = share.waiting.pop(request, None)
        if size is not None:
            share.bytes -= size
            self._messages -= 1
            self._bytes -= size


_BY_SPOOL: WeakValueDictionary[str, Progress] = WeakValueDictionary()


def progress_of(spool: str) -> Progress:
    """Return what source and sink of one router share, by the id of its spool."""
    found = _BY_SPOOL.get(spool)
    if found is None:
        found = _BY_SPOOL[spool] = Progress()
    return found
