"""The tail of the stream: every router follows it, so that all see the same chunks in the same order.

A chunk that this router has stored is at hand; those of others between are fetched. Readers get a chunk only when everything
before it is there, because what is settled and what was never seen would otherwise look the same in a position.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.recent import Recent
from edgerouter_nats.spool.chunks import Chunks
from edgerouter_nats.spool.content import Content
from edgerouter_nats.spool.sequences import chunk_of, first_of
from edgerouter_nats.spool.stored import Opened
from edgerouter_nats.spool.trouble import Trouble

_IDLE: Final = 1.0
"""Seconds between two looks for chunks of other routers, whose announcement may be lost."""
_LONGEST_IDLE: Final = 5.0
_RETRY: Final = 0.1


class Tail:
    """Hands chunks to the readers, in the order of the stream.

    Args:
        chunks: reads those of other routers.
        ledgers: held here.
        following: stream sequence of the next chunk.
        cache_bytes: of recent chunks that are kept in memory.
        counted: called when a chunk has changed the counts of a ledger.
    """

    def __init__(self, chunks: Chunks, ledgers: Ledgers, following: int, *, cache_bytes: int, counted: Callable[[], None]) -> None:
        self._chunks = chunks
        self._ledgers = ledgers
        self._next = following
        self._cache_bytes = cache_bytes
        self._counted = counted
        self._own: dict[int, Opened] = {}
        self._own_bytes = 0
        self._known = following - 1
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self.recent = Recent(cache_bytes, first_of(following))
        self.content = Content()
        self.trouble = Trouble("the stream cannot be followed, trying again", "the stream is followed again")

    @property
    def end(self) -> int:
        """The sequence after the last one that was seen; everything below it has been."""
        return first_of(self._next)

    def stored(self, sequence: int, chunk: Opened) -> None:
        """This router has stored a chunk."""
        self._known = max(self._known, sequence)
        if sequence < self._next:
            return
        if sequence > self._next:
            if self._own_bytes + chunk.chunk.size <= self._cache_bytes:
                self._own[sequence] = chunk
                self._own_bytes += chunk.chunk.size
            self._wake.set()
            return
        self._publish(chunk)
        self._publish_own()

    def announced(self, payload: bytes) -> None:
        """Another router says that it has stored a chunk."""
        if payload[:20].isdigit() and int(payload[:20]) >= self._next:
            self._known = max(self._known, int(payload[:20]))
            self._wake.set()

    async def reached(self, sequence: int) -> None:
        """Return when everything below this sequence was seen."""
        while self.end < sequence:
            self._known = max(self._known, chunk_of(sequence - 1))
            self._wake.set()
            self._moved.clear()
            await self._moved.wait()

    async def run(self) -> None:
        """Follow the stream until cancelled."""
        idle = _IDLE
        while True:
            try:
                async with asyncio.timeout(idle):
                    await self._wake.wait()
            except TimeoutError:
                idle = min(idle * 1.5, _LONGEST_IDLE)
            else:
                idle = _IDLE
            self._wake.clear()
            try:
                more = await self._follow()
            except (Unavailable, SpoolError) as error:
                self.trouble.failed(error)
                more = False
            else:
                self.trouble.end()
            if more:
                self._wake.set()
            elif self._known >= self._next:
                # a replica that lags behind, or no answer
                await asyncio.sleep(_RETRY)
                self._wake.set()

    async def _follow(self) -> bool:
        """Fetch what comes next; True when there may be more."""
        found = await self._chunks.open(self._next)
        for sequence, chunk in found:
            if sequence < self._next:
                continue
            if sequence > self._next:
                self._jump(sequence)
            self._publish(self._own.get(sequence, chunk))
            self._publish_own()
        if not found and self._known >= self._next:
            first = await self._chunks.first()
            if first > self._next:
                self._jump(first)
                return True
        return bool(found)

    def _jump(self, sequence: int) -> None:
        """Chunks are gone that were never seen here: readers find out when they ask for them."""
        self._next = sequence
        self.recent = Recent(self._cache_bytes, first_of(sequence))
        self._forget_own()
        self._moved.set()

    def _publish(self, opened: Opened) -> None:
        # only now, since a position may have been taken while the chunk was fetched
        chunk = self._chunks.counted(opened)
        self._next += 1
        self._forget_own()
        self.recent.forget(self._ledgers.unread_from)
        self.recent.add(chunk)
        self.content.add(chunk_of(chunk.first), len(chunk.messages))
        for ledger in self._ledgers:
            if chunk.wanted.get(ledger.key):
                ledger.changed = True
                self._counted()
        self._ledgers.stored(chunk)
        self._moved.set()

    def _publish_own(self) -> None:
        while (chunk := self._own.get(self._next)) is not None:
            self._publish(chunk)

    def _forget_own(self) -> None:
        for sequence in [sequence for sequence in self._own if sequence < self._next]:
            self._own_bytes -= self._own.pop(sequence).chunk.size
