"""Positions that this router holds: made, taken from another router, released, lost."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from edgerouter.errors import SpoolError
from edgerouter.spool.contract import Route
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.position import OPEN
from edgerouter.spool.log.reader import LogReader
from edgerouter_nats.spool.chunks import Chunks
from edgerouter_nats.spool.counting import Counting
from edgerouter_nats.spool.names import key_of
from edgerouter_nats.spool.position_record import PositionRecord
from edgerouter_nats.spool.positions import Fenced, Positions
from edgerouter_nats.spool.sequences import chunk_of, first_of
from edgerouter_nats.spool.storage import SharedLog
from edgerouter_nats.spool.tail import Tail

_RETRY: Final = 1.0

log = structlog.get_logger("edgerouter.spool")


class Holding:
    """Takes positions and gives them up.

    Args:
        storage: what the readers of positions read.
        chunks: reads the stream.
        tail: has seen everything below its end.
        ledgers: held here.
        positions: writes them.
        counting: of what waits.
        from_oldest_to: a new position begins at the oldest message below this sequence, because positions were deleted.
    """

    def __init__(
        self,
        storage: SharedLog,
        *,
        chunks: Chunks,
        tail: Tail,
        ledgers: Ledgers,
        positions: Positions,
        counting: Counting,
        from_oldest_to: int = 0,
    ) -> None:
        self._storage = storage
        self._chunks = chunks
        self._tail = tail
        self._ledgers = ledgers
        self._positions = positions
        self._counting = counting
        self._from_oldest_to = from_oldest_to

    async def create(self, route: Route) -> None:
        """Make the position of a sink, unless it has one."""
        end = self._tail.end
        ledger = SinkLedger(route.sink, key_of(route.sink), route.filters, since=end)
        oldest = route.start == "oldest"
        if not oldest and await self._positions.had(route.sink):
            log.warning("a position was deleted in the bucket, and begins again at the oldest message", sink=route.sink)
            oldest = True
        upto = end if oldest else min(self._from_oldest_to, end)
        first = first_of(await self._chunks.first()) if upto else upto
        if first < upto:
            ledger.uncounted.add((), [(first, upto)])
            ledger.position.add(first, upto)
        ledger.position.add(end, OPEN)
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
        await self._seen(ledger)
        end = self._tail.end
        self._not_counted(ledger, ledger.counted_to, end)
        held = await self._positions.take(ledger, revision, token)
        self._not_counted(ledger, end, self._tail.end)
        self._ledgers.restore(ledger, self._tail.end)
        # chunks in memory were counted for the positions that were held when they came
        ledger.since = self._tail.end
        self._positions.hold(held)
        return await self._attach(route)

    async def _seen(self, ledger: SinkLedger) -> None:
        """Wait until everything was seen here that the last holder has counted."""
        while self._tail.end < ledger.counted_to:
            try:
                async with asyncio.timeout(_RETRY):
                    await self._tail.reached(ledger.counted_to)
            except TimeoutError:
                end = first_of(await self._chunks.last() + 1)
                if end < ledger.counted_to:
                    log.error("the stream has lost chunks that it had acknowledged", sink=ledger.name, until=chunk_of(end))  # noqa: TRY400
                    ledger.counted_to = min(ledger.counted_to, self._tail.end)

    async def _attach(self, route: Route) -> LogReader:
        reader = self._ledgers.attach(
            route, self._storage, first=self._tail.end, new_key=lambda: key_of(route.sink), oldest_at=None
        )
        self._positions.touch_lazily()
        await self._counting.begin(reader.sink_ledger)
        self._ledgers.check(reader.sink_ledger, self._tail.end)
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
            self._ledgers.detach(name, self._tail.end)
            self._ledgers.forget(name)

    async def _opened(self, route: Route, record: PositionRecord) -> SinkLedger:
        try:
            ledger = record.opened(route.sink)
        except ValueError as error:
            log.warning("a damaged position begins again at the oldest message", sink=route.sink, reason=str(error))
            ledger = SinkLedger(route.sink, key_of(route.sink), route.filters, since=self._tail.end, counted_to=self._tail.end)
            first = first_of(await self._chunks.first())
            ledger.position.add(min(first, self._tail.end), OPEN)
            ledger.uncounted.add((), [(first, self._tail.end)])
        ledger.key = key_of(route.sink)
        return ledger

    @staticmethod
    def _not_counted(ledger: SinkLedger, start: int, end: int) -> None:
        """Leave to be counted what came while nothing counted for the sink."""
        if start < end:
            ledger.uncounted.add((), ledger.position.intersect(start, end))
            ledger.changed = True
