"""The log as readers see it: chunks in memory and in the stream, and what becomes of messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.message import Message
from edgerouter.spool.contract import Rejection
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.position import Position
from edgerouter.spool.log.storage import Loaded
from edgerouter_nats.spool.chunks import Chunks
from edgerouter_nats.spool.counting import Counting
from edgerouter_nats.spool.positions import Positions
from edgerouter_nats.spool.sequences import chunk_of, first_of
from edgerouter_nats.spool.stored import is_mark
from edgerouter_nats.spool.tail import Tail

_RETRY: Final = 1.0

log = structlog.get_logger("edgerouter.spool")


class DeadLetterStore(Protocol):
    """Keeps dead letters."""

    async def store(self, ledger: str, rejections: Sequence[Rejection]) -> None:
        """Return when they are safe; one that is stored again counts once."""


class Spawn(Protocol):
    """Starts a task that ends with the spool."""

    def __call__(self, coro: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]: ...


class SharedLog:
    """Log storage over the stream.

    Args:
        chunks: reads the stream.
        tail: has seen everything below its end.
        ledgers: held here.
        positions: of the ledgers.
        counting: of what waits.
        dead_letters: of all sinks.
        spawn: starts the tasks that read.
    """

    def __init__(
        self,
        *,
        chunks: Chunks,
        tail: Tail,
        ledgers: Ledgers,
        positions: Positions,
        counting: Counting,
        dead_letters: DeadLetterStore,
        spawn: Spawn,
    ) -> None:
        self._chunks = chunks
        self._tail = tail
        self._ledgers = ledgers
        self._positions = positions
        self._counting = counting
        self._dead_letters = dead_letters
        self._spawn = spawn

    # -- what readers ask -------------------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """The sequence that the next message will have at least."""
        return self._tail.end

    def find(self, sequence: int) -> Chunk | None:
        """The chunk that holds the sequence, if it is in memory."""
        return self._tail.recent.find(sequence)

    def load(self, ledger: SinkLedger, ranges: list[tuple[int, int]], done: Callable[[Loaded], None]) -> None:
        """Fetch the first chunks of these ranges; `done` is called later."""
        self._spawn(self._load(ledger, ranges, done), name=f"spool-load-{ledger.name}")

    def settled(self, ledger: SinkLedger, ranges: list[tuple[int, int]]) -> None:
        """These are done for this sink: write that soon."""
        self.skipped(ledger, ranges)
        self._positions.touch()

    def skipped(self, ledger: SinkLedger, ranges: list[tuple[int, int]]) -> None:  # noqa: ARG002  (positions say what can be trimmed)
        """The sink does not want these: that is written with whatever comes next."""
        if ledger.pending or ledger.difference:
            self._ledgers.check(ledger, self.end)
        self._positions.touch_lazily()

    def count_drops(self, sink: str, topics: Counter[str], reason: str) -> None:
        """Count dropped messages by topic."""
        self._ledgers.drops.count(sink, topics, reason)

    async def dead_letter(self, ledger: SinkLedger, ranges: list[tuple[int, int]], rejections: Sequence[Rejection]) -> None:
        """Store dead letters; returns when they are safe and their sequences are settled."""
        for start, end in ranges:
            ledger.leaving.add(start, end)
        ledger.leaving_messages += len(rejections)
        try:
            await self._store(ledger.name, rejections)
            ledger.dead_lettered += len(rejections)
            ledger.settle(ranges, len(rejections))
        finally:
            ledger.leaving_messages -= len(rejections)
            for start, end in ranges:
                ledger.leaving.remove(start, end)
        self.settled(ledger, ranges)

    async def _store(self, name: str, rejections: Sequence[Rejection]) -> None:
        while True:
            try:
                return await self._dead_letters.store(name, rejections)
            except (Unavailable, SpoolError) as error:
                log.warning("dead letters cannot be stored, trying again", sink=name, reason=str(error))
            await asyncio.sleep(_RETRY)

    async def keep_batch(self, ledger: SinkLedger, sequences: Sequence[int]) -> None:
        """Remember a batch with the position; returns when that is safe."""
        batch = Position((sequence, sequence + 1) for sequence in sequences)
        for other in ledger.batches.values():
            for start, end in batch:
                other.remove(start, end)
        ledger.batches[max(ledger.batches, default=0) + 1] = batch
        ledger.changed = True
        await self._positions.safe()

    async def kept_batches(self, ledger: SinkLedger) -> list[list[Message]]:
        """The batches remembered."""
        kept = []
        for number in sorted(ledger.batches):
            ranges = [r for a, b in ledger.batches[number] for r in ledger.position.intersect(a, b)]
            messages = await self.messages(ranges)
            if messages:
                kept.append(messages)
        return kept

    async def messages(self, ranges: Sequence[tuple[int, int]]) -> list[Message]:
        """Return the messages with these sequences that are still stored, in order, however long that takes."""
        found: list[Message] = []
        for start, end in ranges:
            chunk = self.find(start)
            while chunk is None or chunk.end < end:
                try:
                    chunks = [chunk async for chunk in self._chunks.between(start, end)]
                except Unavailable:
                    await asyncio.sleep(_RETRY)
                    continue
                break
            else:
                chunks = [chunk]
            found += [m for each in chunks for m in each.messages if start <= m.sequence < end]
        return found

    # -- reading ----------------------------------------------------------------------------------------------------------------

    async def _load(self, ledger: SinkLedger, ranges: list[tuple[int, int]], done: Callable[[Loaded], None]) -> None:
        try:
            loaded = await self._fetch(ledger, ranges)
        except (Unavailable, SpoolError) as error:
            log.debug("the stream cannot be read, trying again", reason=str(error), sink=ledger.name)
            await asyncio.sleep(_RETRY)
            loaded = Loaded()
        except Exception:
            log.exception("the stream cannot be read", sink=ledger.name)
            await asyncio.sleep(_RETRY)
            loaded = Loaded()
        done(loaded)

    async def _fetch(self, ledger: SinkLedger, ranges: list[tuple[int, int]]) -> Loaded:
        start = ranges[0][0]
        found = await self._chunks.read(chunk_of(start))
        end = self.end
        if not found:
            first = await self._chunks.first()
            if first <= chunk_of(start):
                raise Unavailable("the replica that answers has not caught up")
            loaded = Loaded(upto=min(first_of(first), end))
            await self._missing(ledger, ranges, start, loaded.upto)
            return loaded
        loaded = Loaded(upto=start)
        for _, chunk in found:
            # what the tail has not seen is not counted yet
            if chunk.first >= end:
                break
            if chunk.messages:
                await self._missing(ledger, ranges, loaded.upto, chunk.first)
                loaded.chunks.append(chunk)
            elif is_mark(chunk):
                await self._missing(ledger, ranges, loaded.upto, chunk.first)
            else:
                await self._missing(ledger, ranges, loaded.upto, chunk.end)
            loaded.upto = chunk.end
        if not loaded.chunks and loaded.upto == start:
            # everything up to the tail is gone
            loaded.upto = end
            await self._missing(ledger, ranges, start, end)
        return loaded

    async def _missing(self, ledger: SinkLedger, ranges: list[tuple[int, int]], start: int, end: int) -> None:
        """Nothing is stored between: where messages were counted, count again what is there, and the difference is lost."""
        lost = Position(part for a, b in ranges for part in ledger.position.intersect(max(a, start), min(b, end)))
        for part in ledger.uncounted:
            for a, b in part.ranges:
                lost.remove(a, b)
        if lost and ledger.name in self._ledgers and self._ledgers[ledger.name] is ledger:
            self._ledgers.doubt(ledger, self.end)
            await self._counting.begin(ledger)
