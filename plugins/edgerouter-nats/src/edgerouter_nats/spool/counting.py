"""Counting what waits for a sink and was counted by no holder of its position, or by other filters; a chunk at a time.

A sink need not wait for it: until it is done, `Ledger.uncounted` bounds the number of messages that are still to be compared.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter_nats.spool.chunks import Chunks
from edgerouter_nats.spool.positions import Positions
from edgerouter_nats.spool.sequences import chunk_of
from edgerouter_nats.spool.tail import Tail

PATIENCE: Final = 0.25
"""Seconds that a sink's start waits for its count."""
_RETRY: Final = 1.0

log = structlog.get_logger("edgerouter.spool")


class Counting:
    """Counts for each ledger in a separate task, which ends with the count.

    Args:
        chunks: reads what is not in memory.
        tail: holds what is.
        ledgers: held here.
        positions: written when something was counted.
    """

    def __init__(self, chunks: Chunks, tail: Tail, ledgers: Ledgers, positions: Positions) -> None:
        self._chunks = chunks
        self._tail = tail
        self._ledgers = ledgers
        self._positions = positions
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, ledger: SinkLedger, *, whole: bool = False) -> None:
        """Count what is not counted, for a while; the rest is counted while the sink works.

        Args:
            ledger: whose.
            whole: return only when everything is counted.
        """
        if not (ledger.uncounted or ledger.missing):
            return
        before = self._tasks.get(ledger.name)
        if before is None or before.done():
            name = f"spool-count-{ledger.name}"
            self._tasks[ledger.name] = asyncio.get_running_loop().create_task(self._count(ledger), name=name)
        await asyncio.wait([self._tasks[ledger.name]], timeout=None if whole else PATIENCE)

    def stop(self, name: str) -> None:
        """Count no more for a ledger; its next holder does."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    def stop_all(self) -> None:
        """Count no more."""
        for name in list(self._tasks):
            self.stop(name)

    async def _count(self, ledger: SinkLedger) -> None:
        while (part := next(iter(ledger.uncounted), None)) is not None:
            start = part.ranges.first or 0
            try:
                found = await self._chunk(start)
            except (Unavailable, SpoolError) as error:
                log.debug("what waits cannot be counted, trying again", reason=str(error), sink=ledger.name)
                await asyncio.sleep(_RETRY)
                continue
            if not found:
                ledger.uncounted.remove(start, self._tail.end)
            for chunk in found:
                if chunk.first > start:
                    # nothing is stored between
                    ledger.uncounted.remove(start, chunk.first)
                self._look_at(ledger, chunk)
                start = chunk.end
            await asyncio.sleep(0)
        self._end(ledger)

    async def _chunk(self, sequence: int) -> list[Chunk]:
        """Return the chunks that follow from a sequence on; none where nothing is stored below the tail."""
        recent = self._tail.recent.find(sequence)
        if recent is not None:
            return [recent]
        found = await self._chunks.read(chunk_of(sequence))
        end = self._tail.end
        if not found and await self._chunks.first() < chunk_of(end):
            raise Unavailable("the replica has not caught up")
        return [chunk for _, chunk in found if chunk.first < end]

    def _look_at(self, ledger: SinkLedger, chunk: Chunk) -> None:
        before = ledger.matched
        ledger.look_at(chunk, [(chunk.first, chunk.end)], self._ledgers.wants(ledger))
        if chunk.only == ledger.key and ledger.matched != before:
            # replayed dead letters were matched before they were dead letters
            replayed = ledger.matched - before
            ledger.matched -= replayed
            ledger.dead_lettered -= replayed
        self._positions.touch_lazily()

    def _end(self, ledger: SinkLedger) -> None:
        missing = ledger.give_up_missing()
        if missing:
            log.error("messages are gone from the stream before they were delivered", sink=ledger.name, messages=missing)
            self._ledgers.drops.count(ledger.name, Counter({"": missing}), "spool_full")
        self._positions.touch()
