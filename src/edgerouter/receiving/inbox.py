"""What a source has received and the router has not yet stored: gathered into deliveries, bounded in messages and bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

from edgerouter.errors import Unavailable
from edgerouter.message import Message
from edgerouter.source import Delivery

TokenT = TypeVar("TokenT")

OVERHEAD: Final = 256
"""Bytes that a message takes in memory beside its payload."""


class Inbox(Generic[TokenT]):
    """Holds messages from their arrival until they are safe in the spool.

    Whoever receives waits for `reserve` before it asks the service for more, so a router that stores nothing stops the receiving.

    Args:
        max_messages: most messages held; one request's answer is always let in.
        max_bytes: once this is held, nothing more is asked for; what was asked for already still comes.
        acknowledged: called once for each delivery that is safe, with what its messages were put in with.
        flush_now: asks the router for a commit without waiting for the interval.
        receipt: makes what the spool keeps beside a delivery.
    """

    def __init__(
        self,
        max_messages: int,
        max_bytes: int,
        *,
        acknowledged: Callable[[Sequence[TokenT]], None],
        flush_now: Callable[[], None],
        receipt: Callable[[Sequence[TokenT]], bytes] | None = None,
    ) -> None:
        self.messages = 0
        """Held now."""
        self.bytes = 0
        """Held now."""
        self.stopped = False
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._acknowledged = acknowledged
        self._flush_now = flush_now
        self._receipt = receipt
        self._reserved = 0
        self._current: list[Message] = []
        self._tokens: list[TokenT] = []
        self._size = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._error: Unavailable | None = None

    async def reserve(self, messages: int) -> None:
        """Wait until this many more messages may come; give the reservation back with `release`."""
        while not self._has_room(messages):
            self._room.clear()
            self._flush_now()
            await self._room.wait()
        self._reserved += messages

    def release(self, messages: int) -> None:
        """What was reserved has come, or will not."""
        self._reserved -= messages
        self._room.set()

    def put(self, messages: Sequence[Message], tokens: Sequence[TokenT]) -> None:
        """Take in what came together; `tokens` say what to acknowledge, and need not be as many."""
        if not messages:
            return
        size = sum([len(message.payload) for message in messages]) + OVERHEAD * len(messages)
        self.messages += len(messages)
        self.bytes += size
        self._current += messages
        self._tokens += tokens
        self._size += size
        self._arrived.set()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Everything that came in since the last delivery, as one, as often as there is something.

        Raises:
            Unavailable: that `fail` was called with, after what had come in.
        """
        while True:
            while self._current:
                yield self._take()
            if self._error is not None:
                raise self._error
            if self.stopped:
                return
            self._arrived.clear()
            await self._arrived.wait()

    def fail(self, error: Unavailable) -> None:
        """End `deliveries` with this error."""
        self._error = self._error or error
        self._arrived.set()

    def stop(self) -> None:
        """End `deliveries` after what has come in."""
        self.stopped = True
        self._arrived.set()

    def _has_room(self, messages: int) -> bool:
        used = self.messages + self._reserved
        return self.bytes < self._max_bytes and (used + messages <= self._max_messages or not used)

    def _take(self) -> Delivery:
        messages, tokens, size = self._current, self._tokens, self._size
        self._current, self._tokens, self._size = [], [], 0
        receipt = self._receipt(tokens) if self._receipt is not None else b""
        return Delivery(messages, partial(self._safe, len(messages), size, tokens), receipt)

    def _safe(self, messages: int, size: int, tokens: Sequence[TokenT]) -> None:
        self.messages -= messages
        self.bytes -= size
        self._acknowledged(tokens)
        self._room.set()
