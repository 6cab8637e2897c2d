"""Room in a full stream: what is settled goes first, then what no configured sink needs, then what `on_full` says."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Final

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter_nats.spool.api import Api
from edgerouter_nats.spool.chunks import READ_BYTES, Chunks
from edgerouter_nats.spool.names import Names, sink_of
from edgerouter_nats.spool.positions import Positions
from edgerouter_nats.spool.routing import Routing
from edgerouter_nats.spool.settings import Settings
from edgerouter_nats.spool.trimming import Trimming

_LOOK_AGAIN: Final = 0.25
_COMPLAIN_EVERY: Final = 60.0
_LEAST: Final = 64 * 1024
_MOST_EVICTED: Final = 64
_ORPHAN_AFTER: Final = 60.0

log = structlog.get_logger("edgerouter.spool")


class FullStream:
    """Makes room for a chunk.

    Args:
        api: of JetStream.
        names: of the stream.
        settings: for `on_full`.
        trimming: of the stream.
        positions: of the sinks.
        ledgers: held here; they count what they lose.
        chunks: reads what is evicted.
        routing: the sinks of this router.
    """

    def __init__(
        self,
        api: Api,
        names: Names,
        settings: Settings,
        *,
        trimming: Trimming,
        positions: Positions,
        ledgers: Ledgers,
        chunks: Chunks,
        routing: Routing,
    ) -> None:
        self._api = api
        self._names = names
        self._on_full = settings.on_full
        self._trimming = trimming
        self._positions = positions
        self._ledgers = ledgers
        self._chunks = chunks
        self._routing = routing
        self._orphaned: dict[str, float] = {}
        self._complained = float("-inf")

    async def make(self, need: int, *, own: bool, may_drop: bool) -> bool:
        """Make room, or wait a while; False when a delivery is to be dropped instead.

        Args:
            need: bytes of what waits.
            own: the stream itself is full, so that `on_full` decides; what others fill costs no message here.
            may_drop: nothing of the delivery is stored yet.
        """
        try:
            await self._positions.flush()
            if await self._trimming.trim(full=True) or await self._forget_orphans():
                return True
            self._complain(own)
            if own and self._on_full == "drop_newest" and may_drop:
                return False
            if own and self._on_full == "drop_oldest":
                await self._evict(need)
                return True
        except (Unavailable, SpoolError) as error:
            log.debug("no room can be made, trying again", reason=str(error))
        await asyncio.sleep(_LOOK_AGAIN)
        return True

    async def _forget_orphans(self) -> bool:
        orphans = self._orphans()
        for name in orphans:
            pending = self._trimming.shared.ledgers[name].pending
            log.warning("spool needs room: a sink that is no longer configured loses its messages", sink=name, pending=pending)
            if pending:
                self._ledgers.drops.count(name, Counter({"": pending}), "spool_full")
            if name in self._ledgers:
                self._ledgers.forget(name)
            await self._positions.delete(name)
        return bool(orphans) and await self._trimming.trim(full=True)

    def _orphans(self) -> list[str]:
        """Return the ledgers of sinks that were taken out of the configuration here, or that no router has had for a while.

        A router that has just been started names its sinks one after another.
        """
        shared = self._trimming.shared
        orphans = [name for name in shared.orphans if sink_of(name) not in self._routing]
        now = time.monotonic()
        self._orphaned = {name: self._orphaned.get(name, now) for name in orphans}
        return [name for name in orphans if name in self._ledgers or now - self._orphaned[name] > _ORPHAN_AFTER]

    async def _evict(self, need: int) -> None:
        """Drop the oldest chunks, and count what the sinks drained here lose; other routers count theirs when they read."""
        stream = self._trimming.stream
        average = max(1, stream.bytes // max(1, stream.messages))
        most = min(_MOST_EVICTED, max(need, _LEAST) // average + 1)
        found = await self._chunks.read(stream.first, most=most, max_bytes=READ_BYTES)
        if not found:
            return
        for _, chunk in found:
            self._ledgers.lose(chunk, "spool_full")
        self._positions.touch()
        await self._api.purge(self._names.stream, before=found[-1][0] + 1)

    def _complain(self, own: bool) -> None:
        now = time.monotonic()
        if now - self._complained > _COMPLAIN_EVERY:
            self._complained = now
            stream = self._trimming.stream
            full = "spool is full" if own else "the servers have no room for the spool"
            log.warning(full, bytes=stream.bytes, max_bytes=stream.max_bytes, on_full=self._on_full if own else "block")
