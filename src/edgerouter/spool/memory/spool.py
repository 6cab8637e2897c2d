"""The volatile spool: the same log in memory. A delivery is acknowledged once every sink has settled it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from edgerouter.config.model import SpoolConfig
from edgerouter.errors import SpoolError
from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool.contract import Rejection, Route
from edgerouter.spool.log.chunk import OVERHEAD, Chunk, new_id, number, times_of
from edgerouter.spool.log.grouping import Append, payload_bytes
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.position import OPEN, Position
from edgerouter.spool.log.reader import LogReader
from edgerouter.spool.log.storage import Loaded
from edgerouter.spool.log.uncounted import Counted
from edgerouter.spool.memory.chunks import Chunks
from edgerouter.spool.memory.operator import MemoryDeadLetters, MemoryTools
from edgerouter.spool.operator import SpoolTools
from edgerouter.spool.status import Ledger, SpoolStatus


@dataclass(slots=True, frozen=True)
class _Unacknowledged:
    """A delivery whose messages are not all settled."""

    append: Append
    chunk: Chunk


class MemorySpool:
    """Holds chunks until no sink needs them, and never more than it may."""

    def __init__(self, config: SpoolConfig) -> None:
        self.id = new_id()
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._ledgers = Ledgers()
        self._chunks = Chunks()
        self._waiting: deque[Append] = deque()
        self._unacknowledged: deque[_Unacknowledged] = deque()
        self._received = 0
        self._keys = 0
        self._batches = 0
        self._trimming = False
        self._dead_letters = MemoryDeadLetters(self._ledgers, config.dead_letter_bytes)
        self._tools = MemoryTools(self._ledgers, self._dead_letters, self._chunks, self.put)

    # -- what the contract names ------------------------------------------------------------------------------------------------

    @property
    def status(self) -> SpoolStatus:
        return SpoolStatus(
            type="memory",
            id=self.id,
            state="full" if self._waiting else "ok",
            reason=self._why_full(self._waiting[0]) if self._waiting else "",
            messages=self._chunks.messages,
            bytes=self._chunks.bytes,
            max_bytes=self._config.max_bytes,
            free_bytes=None,
            first_sequence=self._chunks.first,
            last_sequence=self.end - 1,
            written_bytes=self._chunks.written_bytes,
            commits=0,
            quarantined_chunks=0,
            quarantined_messages=0,
            dead_letters=len(self._dead_letters),
            dead_letter_bytes=self._dead_letters.bytes,
            orphans=self._ledgers.orphans,
        )

    @property
    def ledgers(self) -> Mapping[str, Ledger]:
        return {ledger.name: ledger.numbers for ledger in self._ledgers}

    @property
    def faults(self) -> Mapping[str, str]:
        return self._ledgers.faults

    @property
    def drops(self) -> Mapping[tuple[str, str, str], int]:
        return self._ledgers.drops

    @property
    def tools(self) -> SpoolTools:
        return self._tools

    def count_dropped(self, topic: str, messages: int, reason: str) -> None:
        self._ledgers.drops.count("", Counter({topic: messages}), reason)

    async def append(self, source: str, delivery: Delivery, wanted: Mapping[str, int]) -> None:
        size = payload_bytes(delivery.messages) + OVERHEAD * len(delivery.messages)
        ledgers = self._ledgers
        append = Append(source, delivery, ledgers.keys(wanted), size, ledgers.routing, self._loop.create_future())
        self._waiting.append(append)
        self._admit()
        await append.until_stored(self._waiting)

    def unacknowledged(self, source: str) -> Sequence[Delivery]:  # noqa: ARG002  (nothing is left of an earlier run)
        return ()

    async def attach(self, route: Route) -> LogReader:
        self._keys += 1
        first = self._chunks.first
        reader = self._ledgers.attach(route, self, first=first, new_key=lambda: self._keys, oldest_at=None)
        await self._count(reader.sink_ledger)
        return reader

    async def _count(self, ledger: SinkLedger) -> None:
        """Count what waits by the sink's present filters, and let others work in between."""
        matches = self._ledgers.wants(ledger)
        while (part := next(iter(ledger.uncounted), None)) is not None:
            start = part.ranges.first or 0
            chunk = self.find(start)
            if chunk is None:
                ledger.recount([Counted(start, self._chunks.following(start) or OPEN, 0, 0)])
                continue
            ledger.look_at(chunk, [(chunk.first, chunk.end)], matches)
            await asyncio.sleep(0)

    async def detach(self, sink: str) -> None:
        self._ledgers.detach(sink, self.end)

    async def forget(self, sink: str) -> None:
        self._ledgers.forget(sink)
        self._trim_soon()

    async def hand_over(self) -> None:
        pass

    async def beat(self) -> None:
        pass

    async def flush(self) -> None:
        """There is no disk."""

    async def close(self) -> None:
        for append in self._waiting:
            if not append.stored.done():
                append.stored.set_exception(SpoolError("the spool is closed"))
        self._waiting.clear()

    # -- what readers ask -------------------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """The sequence that the next message will have."""
        return self._chunks.end

    def find(self, sequence: int) -> Chunk | None:
        """The chunk that holds the sequence."""
        return self._chunks.find(sequence)

    def load(self, ledger: SinkLedger, ranges: list[tuple[int, int]], done: Callable[[Loaded], None]) -> None:  # noqa: ARG002  (nothing is elsewhere)
        """Continue at the next chunk: what is not in memory is gone."""
        self._loop.call_soon(done, Loaded(upto=self._chunks.following(ranges[0][0]) or self.end))

    def settled(self, ledger: SinkLedger, ranges: list[tuple[int, int]]) -> None:
        """These are done for this sink: see whether something can be acknowledged and let go."""
        self.skipped(ledger, ranges)
        self._trim_soon()

    def skipped(self, ledger: SinkLedger, ranges: list[tuple[int, int]]) -> None:
        """The sink does not want these."""
        settled = self._ledgers.settled
        for start, end in ranges:
            settled.add(start, end)
        if ledger.pending or ledger.difference:
            self._ledgers.check(ledger, self.end)

    def count_drops(self, sink: str, topics: Counter[str], reason: str) -> None:
        """Count dropped messages by topic."""
        self._ledgers.drops.count(sink, topics, reason)

    async def dead_letter(self, ledger: SinkLedger, ranges: list[tuple[int, int]], rejections: Sequence[Rejection]) -> None:
        """Keep dead letters, as long as the process lives."""
        ledger.dead_lettered += len(rejections)
        ledger.settle(ranges, len(rejections))
        self._dead_letters.add(ledger.name, rejections)
        self.settled(ledger, ranges)

    async def keep_batch(self, ledger: SinkLedger, sequences: Sequence[int]) -> None:
        """Remember a batch, in case that the sink is attached again."""
        batch = Position((sequence, sequence + 1) for sequence in sequences)
        for other in ledger.batches.values():
            for start, end in batch:
                other.remove(start, end)
        self._batches += 1
        ledger.batches[self._batches] = batch

    async def kept_batches(self, ledger: SinkLedger) -> list[list[Message]]:
        """The batches remembered."""
        ledger.kept()
        batches = []
        for batch in ledger.batches.values():
            sequences = [s for a, b in batch for start, end in ledger.position.intersect(a, b) for s in range(start, end)]
            found = ((sequence, self.find(sequence)) for sequence in sequences)
            batches.append([chunk.messages[sequence - chunk.first] for sequence, chunk in found if chunk is not None])
        return [batch for batch in batches if batch]

    # -- coming and going of messages -------------------------------------------------------------------------------------------

    def put(self, messages: Iterable[Message], wanted: Mapping[int, int], only: int = 0) -> Chunk:
        """Add messages after all others."""
        messages = list(messages)
        numbered = number(messages, self.id, self.end, times_of(messages, only, self._received))
        if numbered and not only:
            self._received = numbered[-1].received_at
        chunk = Chunk(self.end, numbered, wanted, only, payload_bytes(numbered) + OVERHEAD * len(numbered))
        self._chunks.add(chunk)
        self._ledgers.stored(chunk)
        return chunk

    def _admit(self) -> None:
        """Accept what there is room for."""
        while self._waiting:
            append = self._waiting[0]
            if append.routing != self._ledgers.routing:
                self._ledgers.recount(append)
            if not append.stored.done() and self._chunks.messages and self._why_full(append):
                if self._config.on_full == "drop_oldest":
                    oldest = self._chunks.oldest
                    self._ledgers.lose(oldest, "spool_full")
                    self._chunks.remove(oldest)
                    self._acknowledge()
                    continue
                if self._config.on_full == "block":
                    return
                self._ledgers.reject(append, "spool_full")
                self._unacknowledged.append(_Unacknowledged(append, Chunk(self.end, [], {})))
            elif not append.stored.done():
                chunk = self.put(append.delivery.messages, append.wanted) if append.delivery.messages else Chunk(self.end, [], {})
                self._unacknowledged.append(_Unacknowledged(append, chunk))
            self._waiting.popleft()
            if not append.stored.done():
                append.stored.set_result(None)
        self._acknowledge()
        if self._ledgers.settled:
            self._trim_soon()

    def _why_full(self, append: Append) -> str:
        config = self._config
        if self._chunks.bytes + append.size > config.max_bytes:
            return f"max_bytes: {self._chunks.bytes} of {config.max_bytes} bytes are in use"
        most = config.max_messages
        if most is not None and self._chunks.messages + len(append.delivery.messages) > most:
            return f"max_messages: {self._chunks.messages} of {most} messages are held"
        return ""

    def _needed(self, chunk: Chunk) -> bool:
        return any(
            ledger.position.overlaps(chunk.first, chunk.end) and chunk.wanted_by(ledger.key, ledger.since) != 0
            for ledger in self._ledgers
        )

    def _acknowledge(self) -> None:
        """Acknowledge in order, as far as everything is settled."""
        waiting = self._unacknowledged
        while waiting and not self._needed(waiting[0].chunk):
            waiting.popleft().append.acknowledge()

    def _trim_soon(self) -> None:
        if not self._trimming:
            self._trimming = True
            self._loop.call_soon(self._trim)

    def _trim(self) -> None:
        self._trimming = False
        settled, self._ledgers.settled = self._ledgers.settled, Position()
        for start, end in settled:
            for chunk in self._chunks.between(start, end):
                if not self._needed(chunk):
                    self._chunks.remove(chunk)
        self._acknowledge()
        self._admit()


@asynccontextmanager
async def open_memory(config: SpoolConfig) -> AsyncIterator[MemorySpool]:
    """A new, empty spool."""
    spool = MemorySpool(config)
    try:
        yield spool
    finally:
        await spool.close()
