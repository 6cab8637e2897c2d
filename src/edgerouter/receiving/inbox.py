"""Messages received by a source and not stored yet: gathered into deliveries, bounded in messages and bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

from edgerouter.errors import Unavailable
from edgerouter.message import Message
from edgerouter.source import Confirmation, Delivery

TokenT = TypeVar("TokenT")

OVERHEAD: Final = 256
"""Bytes of memory that a message uses beside its payload."""


class Inbox(Generic[TokenT]):
    """Holds messages from their arrival until they are stored in the spool.

    The receiver awaits `reserve` before it requests more from the service, so a router that cannot store stops the receiving.

    Args:
        max_messages: most messages held; the answer to a single request is always accepted.
        max_bytes: bytes held at which no more is requested; outstanding answers are still accepted.
        acknowledged: called once for each stored delivery, with the tokens of its messages.
        flush_now: asks the router for a commit without waiting for the interval.
        receipt: builds the receipt that the spool stores beside a delivery.
        confirmation: makes what confirms that the receipt is no longer needed; without it, the acknowledgement does.
    """

    def __init__(
        self,
        max_messages: int,
        max_bytes: int,
        *,
        acknowledged: Callable[[Sequence[TokenT]], None],
        flush_now: Callable[[], None],
        receipt: Callable[[Sequence[TokenT]], bytes] | None = None,
        confirmation: Callable[[Sequence[TokenT]], Confirmation] | None = None,
    ) -> None:
        self.messages = 0
        """Messages held now."""
        self.bytes = 0
        """Bytes held now."""
        self.stopped = False
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._acknowledged = acknowledged
        self._flush_now = flush_now
        self._receipt = receipt
        self._confirmation = confirmation
        self._reserved = 0
        self._current: list[Message] = []
        self._tokens: list[TokenT] = []
        self._size = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._error: Unavailable | None = None

    async def reserve(self, messages: int) -> None:
        """Wait until this many more messages may arrive; return the reservation with `release`."""
        while not self._has_room(messages):
            self._room.clear()
            self._flush_now()
            await self._room.wait()
        self._reserved += messages

    def release(self, messages: int) -> None:
        """Release a reservation whose messages have arrived, or will not."""
        self._reserved -= messages
        self._room.set()

    def put(self, messages: Sequence[Message], tokens: Sequence[TokenT]) -> None:
        """Add messages that arrived together; `tokens` identify them for acknowledgement, and may differ in number."""
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
        """Yield everything that arrived since the last delivery as one delivery, whenever there is something.

        Raises:
            Unavailable: error passed to `fail`, raised after the remaining messages.
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
        """End `deliveries` after the messages that have arrived."""
        self.stopped = True
        self._arrived.set()

    def _has_room(self, messages: int) -> bool:
        used = self.messages + self._reserved
        return self.bytes < self._max_bytes and (used + messages <= self._max_messages or not used)

    def _take(self) -> Delivery:
        messages, tokens, size = self._current, self._tokens, self._size
        self._current, self._tokens, self._size = [], [], 0
        receipt = self._receipt(tokens) if self._receipt is not None else b""
        confirmation = self._confirmation(tokens) if self._confirmation is not None else None
        acknowledge = partial(self._safe, len(messages), size, tokens)
        # made of tokens, so that it holds whatever becomes of the messages
        return Delivery(messages, acknowledge, receipt, confirmation, receipt_stands_alone=True)

    def _safe(self, messages: int, size: int, tokens: Sequence[TokenT]) -> None:
        self.messages -= messages
        self.bytes -= size
        self._acknowledged(tokens)
        self._room.set()
