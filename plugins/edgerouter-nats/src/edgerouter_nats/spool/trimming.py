"""Trimming: chunks below the least position of all sinks are purged, whichever router drains these."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.position import OPEN
from edgerouter_nats.spool.api import STREAM_MISSING, Api, ApiError, StreamState
from edgerouter_nats.spool.names import Names, sink_of, unescape
from edgerouter_nats.spool.position_record import decode
from edgerouter_nats.spool.routers import RouterRecord, records
from edgerouter_nats.spool.sequences import chunk_of
from edgerouter_nats.spool.settings import Settings
from edgerouter_nats.spool.state import State
from edgerouter_nats.spool.stream import deleted, unsafe
from edgerouter_nats.spool.trouble import Trouble

EVERY: Final = 1.0
"""Seconds between two trims."""

log = structlog.get_logger("edgerouter.spool")


@dataclass(slots=True)
class Shared:
    """The state of all routers, as it was read last."""

    ledgers: dict[str, SinkLedger] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    """Ledgers that cannot be read: nothing is trimmed."""
    routers: dict[str, RouterRecord] = field(default_factory=dict)
    claimed: tuple[str, ...] = ()
    """Ledgers that were drained before, and were not forgotten."""

    @property
    def orphans(self) -> tuple[str, ...]:
        """Ledgers of sinks that no router has in its configuration."""
        sinks = {sink for router in self.routers.values() for sink in router.sinks}
        return tuple(sorted(name for name in self.ledgers if sink_of(name) not in sinks))

    def least(self, end: int) -> int:
        """Return the lowest sequence that any sink has pending; `end` where none has."""
        if self.damaged:
            return 0
        firsts = [ledger.position.first for ledger in self.ledgers.values()]
        return min([first for first in firsts if first is not None], default=end)

    def kept(self, without: str) -> int:
        """Return the least stream sequence that the other routers need for their receipts."""
        others = (router for name, router in self.routers.items() if name != without)
        return min([router.keep_from for router in others if router.keep_from and router.present], default=OPEN)


async def read_shared(state: State) -> Shared:
    """Read the positions and the routers.

    Raises:
        Unavailable: nothing answers.
    """
    found = await state.all("position", "router", "lease")
    shared = Shared(routers=records(found))
    shared.claimed = tuple(unescape(each.subject[len("lease.") :]) for each in found if each.subject.startswith("lease."))
    damaged = []
    for each in found:
        if not each.subject.startswith("position."):
            continue
        name = unescape(each.subject.removeprefix("position."))
        try:
            shared.ledgers[name] = decode(each.data).opened(name)
        except ValueError as error:
            damaged.append(name)
            log.warning("a damaged position keeps the stream from being trimmed: forget the sink", sink=name, reason=str(error))
    shared.damaged = tuple(damaged)
    return shared


class Trimming:
    """Purges the front of the stream, about once a second while something is settled.

    Args:
        api: of JetStream.
        names: of the stream.
        state: shared by the routers.
        settings: of the spool.
        spool: its id.
        router: name of this router.
        end: the sequence that the next message will have.
        keep_from: least stream sequence that this router needs for its receipts.
        rewrite: writes those of these positions that are held here.
    """

    def __init__(
        self,
        api: Api,
        names: Names,
        state: State,
        settings: Settings,
        *,
        spool: str,
        router: str,
        end: Callable[[], int],
        keep_from: Callable[[], int],
        rewrite: Callable[[Collection[str]], None],
    ) -> None:
        self._api = api
        self._names = names
        self._state = state
        self._settings = settings
        self._spool = spool
        self._retain = settings.retain
        self._router = router
        self._end = end
        self._keep_from = keep_from
        self._rewrite = rewrite
        self._due = True
        self.shared = Shared()
        """State of all routers, about a second old."""
        self.stream = StreamState(0, 0, 1, 0, settings.max_bytes)
        """Numbers of the stream, about a second old."""
        self.unsafe = ""
        """Why the stream as it is now must be given no message; empty where it may."""
        self.trouble = Trouble("the stream cannot be trimmed, trying again", "the stream is trimmed again")

    def touch(self) -> None:
        """Trim within a second: a position has been written."""
        self._due = True

    async def run(self, also: Callable[[], object]) -> None:
        """Trim until cancelled.

        Args:
            also: called each time, for what is done as rarely.
        """
        while True:
            await asyncio.sleep(EVERY)
            also()
            if not self._due:
                continue
            self._due = False
            try:
                await self.trim()
            except (Unavailable, SpoolError) as error:
                self._due = True
                self.trouble.failed(error)
            else:
                self.trouble.end()

    async def refresh(self) -> None:
        """Read the state of all routers and of the stream.

        Raises:
            Unavailable: nothing answers.
        """
        shared = await read_shared(self._state)
        for name in self.shared.ledgers.keys() - shared.ledgers.keys() - set(shared.damaged):
            if await self._state.read(self._names.position_key(name)) is not None:
                raise Unavailable(f"the position of {name} is missing among all")
        self.shared = shared
        await self._look()

    async def _look(self) -> None:
        try:
            self.stream = await self._api.state(self._names.stream)
        except ApiError as error:
            if error.code == STREAM_MISSING:
                self._note(f"stop all its routers, since {deleted(self._names)}")
            raise
        self._note(unsafe(self.stream.config, self._names, self._settings, self._spool))

    def _note(self, reason: str) -> None:
        if reason and reason != self.unsafe:
            log.error("nothing is stored and acknowledged until the stream is as a spool needs it", reason=reason)
        self.unsafe = reason

    async def trim(self, *, full: bool = False) -> bool:
        """Purge what is settled; True when that made room.

        Args:
            full: give up what is only retained, or kept for receipts.

        Raises:
            Unavailable: nothing answers.
        """
        # before the positions are read: a chunk that comes later is none that they have settled
        end = self._end()
        await self.refresh()
        if self.unsafe or self._positions_are_missing():
            return False
        target = chunk_of(self.shared.least(end))
        if not full:
            target = min(target, self._keep_from(), self.shared.kept(self._router))
            target = await self._retained(target)
        if target <= self.stream.first or not self.stream.messages:
            return False
        purged = await self._api.purge(self._names.stream, before=target)
        await self._look()
        return purged > 0

    def _positions_are_missing(self) -> bool:
        """Return True while a shard in use has a claim and no position: this was deleted, and its router writes it again."""
        shared = self.shared
        sinks = {sink for router in shared.routers.values() if router.present for sink in router.sinks}
        missing = {name for name in shared.claimed if sink_of(name) in sinks} - shared.ledgers.keys() - set(shared.damaged)
        if missing:
            log.debug("nothing is trimmed, because positions are missing", sinks=sorted(missing))
            self._rewrite(missing)
        return bool(missing)

    async def _retained(self, target: int) -> int:
        """Return how far chunks go that are neither pending nor retained."""
        stream, retain = self.stream, self._retain
        if not (retain.age or retain.bytes) or not stream.messages:
            return target
        limits = []
        if retain.age:
            young = await self._api.since(self._names.stream, datetime.fromtimestamp(time.time() - retain.age, UTC))
            limits.append(target if young is None else young)
        if retain.bytes:
            settled = max(0, target - stream.first)
            # of average size: the stream does not say how large a part of it is
            kept = int(retain.bytes / max(1.0, stream.bytes / stream.messages))
            limits.append(stream.first + max(0, settled - kept))
        return min(target, max(limits))
