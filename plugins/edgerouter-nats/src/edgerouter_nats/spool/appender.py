"""Append: deliveries become chunks, chunks are written to the stream, and the answer acknowledges the deliveries.

One chunk is on its way at a time. Whatever arrives meanwhile joins the next one, so a slow cluster gets larger chunks and not more
of them. Two at once could change places: the server might refuse the first and store the second, and a key would lose its order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from edgerouter.errors import SpoolError
from edgerouter.source import Delivery
from edgerouter.spool.log.chunk import MAX_BYTES, MAX_MESSAGES, Chunk
from edgerouter.spool.log.grouping import Append
from edgerouter_nats.spool.routing import Routing
from edgerouter_nats.spool.sealing import Sealing, TooLarge
from edgerouter_nats.spool.stored import Sealed
from edgerouter_nats.spool.writer import Writer

log = structlog.get_logger("edgerouter.spool")


class Appender:
    """Stores deliveries in the order in which they were given.

    Args:
        writer: writes chunks to the stream.
        sealing: makes the chunks.
        routing: the sinks that are counted.
        acknowledged: called with each delivery and its first chunk.
        drop: counts a delivery that has no room, or is too large.
        end: returns a stream sequence that no chunk can be stored below.
    """

    def __init__(
        self,
        writer: Writer,
        sealing: Sealing,
        routing: Routing,
        *,
        acknowledged: Callable[[Append, Chunk], None],
        drop: Callable[[Append, str], None],
        end: Callable[[], int],
    ) -> None:
        self._writer = writer
        self._sealing = sealing
        self._routing = routing
        self._acknowledged = acknowledged
        self._drop = drop
        self._end = end
        self._waiting: deque[Append] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self.storing_from = 0
        """Least stream sequence of what is on its way, or may be since the end; 0 = nothing is."""
        self.messages = 0
        self.commits = 0

    async def append(self, append: Append) -> None:
        """Return when the delivery is stored and acknowledged."""
        if self._closed:
            raise SpoolError("the spool is closed")
        self._waiting.append(append)
        self._wake.set()
        await append.until_stored(self._waiting)

    def close(self) -> None:
        """Take no more deliveries."""
        self._closed = True
        for append in self._waiting:
            if not append.stored.done():
                append.stored.set_exception(SpoolError("the spool is closed"))
        self._waiting.clear()

    async def run(self) -> None:
        """Store what waits until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                appends = self._gather()
                try:
                    await self._store(appends)
                except Exception as error:
                    # not the stream: these messages cannot be stored, now or later
                    log.exception("deliveries cannot be stored")
                    for append in appends:
                        if not append.stored.done():
                            append.stored.set_exception(error)
                except asyncio.CancelledError:
                    self._waiting.extendleft(append for append in reversed(appends) if not append.stored.done())
                    raise

    # -- gather -----------------------------------------------------------------------------------------------------------------

    def _gather(self) -> list[Append]:
        """Take off as many deliveries as one chunk holds; a larger one alone."""
        appends: list[Append] = []
        size = messages = 0
        while self._waiting:
            append = self._waiting[0]
            size += append.size
            messages += len(append.delivery.messages)
            if appends and (size > MAX_BYTES or messages > MAX_MESSAGES or append.only != appends[0].only):
                break
            self._waiting.popleft()
            if not append.stored.done():  # its source may have given up
                self._routing.recount(append)
                appends.append(append)
        return appends

    # -- store ------------------------------------------------------------------------------------------------------------------

    async def _store(self, appends: list[Append]) -> None:
        parts = await self._sealed(appends)
        if parts is None:
            return
        self.storing_from = max(self._writer.newest + 1, self._end())
        chunks: list[Chunk] = []
        while parts:
            stored = await self._writer.write(parts, may_drop=not chunks)
            if stored is None:
                self._reject(appends, "spool_full")
                return
            chunks += stored
            parts = self._divided(parts[len(stored) :], appends)
        self.commits += len(chunks)
        self.messages += sum(len(chunk.messages) for chunk in chunks)
        for append in appends:
            if chunks:
                self._acknowledged(append, chunks[0])
            append.acknowledge()  # the promise: acknowledge after the answer, in the order received
        self.storing_from = 0

    async def _sealed(self, appends: list[Append]) -> list[Sealed] | None:
        """Return the chunks of the deliveries; `None` once these are stored one by one, because a message of one is too large."""
        while True:
            try:
                return self._sealing.seal(appends)
            except TooLarge as error:
                if len(appends) == 1:
                    self._leave_out(appends[0], error)
                    continue
            for append in appends:
                await self._store([append])
            return None

    def _divided(self, parts: Sequence[Sealed], appends: Sequence[Append]) -> list[Sealed]:
        """Return chunks that are small enough for what the server takes by now: an operator, or another server, has lowered it."""
        divided, left_out = self._sealing.divide(parts)
        for error in left_out:
            self._leave_out(next(each for each in appends if any(m is error.message for m in each.delivery.messages)), error)
        return divided

    def _leave_out(self, append: Append, error: TooLarge) -> None:
        """Drop and count a message of a delivery; its neighbours can be stored."""
        message, most = error.message, self._sealing.max_payload
        log.error(
            "a message is too large for the stream and is dropped: raise max_payload of the NATS servers",
            topic=message.topic,
            bytes=error.size,
            max_payload=most,
        )
        matchers, delivery = self._routing.matchers, append.delivery
        wanted = {key: 1 for key in append.wanted if append.only or (key in matchers and matchers[key](message.topic))}
        size = len(message.payload)
        alone = replace(append, delivery=Delivery([message], delivery.acknowledge), wanted=wanted, size=size)
        self._drop(alone, "message_too_large")
        append.delivery = delivery.shaped([each for each in delivery.messages if each is not message])
        append.size -= size
        append.wanted = {key: count - wanted.get(key, 0) for key, count in append.wanted.items()}

    def _reject(self, appends: list[Append], reason: str) -> None:
        for append in appends:
            self._drop(append, reason)
            append.acknowledge()
        self.storing_from = 0
