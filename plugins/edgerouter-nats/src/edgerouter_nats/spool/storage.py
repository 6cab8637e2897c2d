"""The log as readers see it, and the positions that are held here: taken, released, lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.message import Message
from edgerouter.spool.contract import Rejection, Route
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.position import OPEN, Position
from edgerouter.spool.log.reader import LogReader
from edgerouter.spool.log.storage import Loaded
from edgerouter_nats.spool.chunks import Chunks
from edgerouter_nats.spool.counting import Counting
from edgerouter_nats.spool.names import key_of
from edgerouter_nats.spool.positions import Fenced, PositionRecord, Positions
from edgerouter_nats.spool.sequences import chunk_of, first_of
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

    # -- positions --------------------------------------------------------------------------------------------------------------

    async def create(self, route: Route) -> None:
        """Make the position of a sink, unless it has one."""
        end = self.end
        ledger = SinkLedger(route.sink, key_of(route.sink), route.filters, since=end)
        first = end
        if route.start == "oldest":
            first = first_of(await self._chunks.first())
            ledger.uncounted.add((), [(first, end)])
        ledger.position.add(min(first, end), OPEN)
        await self._positions.create(ledger)

    async def take(self, route: Route, token: int) -> LogReader:
        """Take the position of a sink, or of a shard; from now on no earlier holder can write it.

        Args:
            route: of the sink; its name is the ledger's.
            token: of the lease.

        Raises:
            Fenced: another router took it at the same time.
            Unavailable: nothing answers.
        """
        if route.sink in self._positions and route.sink in self._ledgers:
            return await self._attach(route)
        found = await self._positions.read(route.sink)
        if found is None:
            await self.create(route)
            found = await self._positions.read(route.sink)
            if found is None:
                raise Fenced(f"the position of {route.sink} was deleted")
        record, revision = found
        ledger = await self._opened(route, record)
        await self._tail.reached(ledger.counted_to)
        end = self.end
        self._not_counted(ledger, ledger.counted_to, end)
        held = await self._positions.take(ledger, revision, token)
        self._not_counted(ledger, end, self.end)
        self._ledgers.restore(ledger, self.end)
        # chunks in memory were counted for the positions that were held when they came
        ledger.since = self.end
        self._positions.hold(held)
        return await self._attach(route)

    async def _attach(self, route: Route) -> LogReader:
        reader = self._ledgers.attach(route, self, first=self.end, new_key=lambda: key_of(route.sink), oldest_at=None)
        self._positions.touch_lazily()
        await self._counting.begin(reader.sink_ledger)
        self._ledgers.check(reader.sink_ledger, self.end)
        return reader

    async def release(self, name: str) -> None:
        """Write what is settled and hold the position no more."""
        reader = self._ledgers.reader(name)
        if reader is not None:
            reader.close()
        try:
            await self._positions.flush()
        except SpoolError as error:
            log.warning("what was settled last will be delivered again", sink=name, reason=str(error))
        self.drop(name)

    def drop(self, name: str) -> None:
        """Hold the position no more, and write nothing: it is another router's."""
        self._counting.stop(name)
        self._positions.drop(name)
        if name in self._ledgers:
            self._ledgers.detach(name, self.end)
            self._ledgers.forget(name)

    async def _opened(self, route: Route, record: PositionRecord) -> SinkLedger:
        try:
            ledger = record.opened(route.sink)
        except ValueError as error:
            log.warning("a damaged position begins again at the oldest message", sink=route.sink, reason=str(error))
            ledger = SinkLedger(route.sink, key_of(route.sink), route.filters, since=self.end, counted_to=self.end)
            first = first_of(await self._chunks.first())
            ledger.position.add(min(first, self.end), OPEN)
            ledger.uncounted.add((), [(first, self.end)])
        ledger.key = key_of(route.sink)
        return ledger

    @staticmethod
    def _not_counted(ledger: SinkLedger, start: int, end: int) -> None:
        """Leave to be counted what came while nothing counted for the sink."""
        if start < end:
            ledger.uncounted.add((), ledger.position.intersect(start, end))
            ledger.changed = True
