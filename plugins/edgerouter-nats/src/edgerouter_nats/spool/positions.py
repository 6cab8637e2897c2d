"""Positions and ledgers of the sinks that are drained here, as they stand in the shared state.

A record is written by compare-and-set on the revision that this process wrote or took last. Another process that takes the position
writes it first, so every later write of this one is refused: it is fenced, however late it wakes up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.position_record import PositionRecord, decode, encode
from edgerouter_nats.spool.state import Stale, State
from edgerouter_nats.spool.trouble import Trouble

_LAZY: Final = 1.0
"""Seconds that counts alone may wait to be written: a successor counts again what is newer than the record."""
_RETRY: Final = 0.5

log = structlog.get_logger("edgerouter.spool")


class Fenced(SpoolError):
    """Another router has taken the position."""


@dataclass(slots=True)
class Held:
    """A position that this process writes."""

    ledger: SinkLedger
    revision: int
    owner: int
    write: int = 0


@dataclass(slots=True)
class _Flushes:
    """Callers that wait until what they said is stored."""

    next: list[asyncio.Future[None]] = field(default_factory=list)

    def end(self, error: SpoolError | None = None) -> None:
        """Answer all."""
        waiting, self.next = self.next, []
        for future in waiting:
            if not future.done():
                future.set_result(None) if error is None else future.set_exception(error)


class Positions:
    """Writes what has changed, all positions one after another, with the rhythm of commits.

    Args:
        state: shared by the routers.
        names: of its keys.
        writer: names this process, and no other one ever.
        interval: least seconds between two rounds of writing.
        end: the sequence that the next message will have.
    """

    def __init__(self, state: State, names: Names, writer: str, interval: float, end: Callable[[], int]) -> None:
        self._state = state
        self._names = names
        self._writer = writer
        self._interval = interval
        self._end = end
        self._held: dict[str, Held] = {}
        self._due = asyncio.Event()
        self._at_once = asyncio.Event()
        self._flushes = _Flushes()
        self._lazy: asyncio.TimerHandle | None = None
        self._writing = False
        self._settled_at: float | None = None
        self.on_fenced: Callable[[str], None] = lambda _: None
        """Called with the name of a ledger that another router has taken."""
        self.trouble = Trouble("positions cannot be written, trying again", "positions are written again")
        self.rounds = 0
        """Rounds of writing since the start."""

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._held

    async def create(self, ledger: SinkLedger) -> None:
        """Store the position of a new sink; another router may have been faster."""
        record = encode(ledger, self._end(), writer=self._writer)
        try:
            await self._state.write(self._names.position_key(ledger.name), record)
        except Stale:
            log.debug("position exists already", sink=ledger.name)

    async def had(self, name: str) -> bool:
        """Return True for a ledger that was drained before, so that a position which is not there was deleted."""
        return await self._state.read(self._names.lease_key(name)) is not None

    async def read(self, name: str) -> tuple[PositionRecord, int] | None:
        """Return a record and its revision."""
        found = await self._state.read(self._names.position_key(name))
        return None if found is None else (decode(found[0]), found[1])

    async def take(self, ledger: SinkLedger, revision: int, owner: int) -> Held:
        """Write a position that was just read under this process's own name: from now on no earlier holder can write it.

        Raises:
            Fenced: it was written since it was read.
        """
        held = Held(ledger, revision, owner)
        await self._write(held)
        return held

    def hold(self, held: Held) -> None:
        """Write this position whenever it changes."""
        self._held[held.ledger.name] = held

    def drop(self, name: str) -> Held | None:
        """Write this position no more."""
        return self._held.pop(name, None)

    async def delete(self, name: str) -> None:
        """Delete a position, and what shows that it was there."""
        self._held.pop(name, None)
        await self._state.delete(self._names.position_key(name))
        await self._state.delete(self._names.lease_key(name))

    @property
    def unwritten_seconds(self) -> float:
        """Age of the oldest settlement that is not stored yet: a router that takes over now delivers those messages again."""
        return 0.0 if self._settled_at is None else time.monotonic() - self._settled_at

    def rewrite(self, names: Collection[str]) -> None:
        """Write those of these positions that are held here: they are missing in the bucket."""
        for held in self:
            if held.ledger.name in names:
                held.ledger.changed = True
                self.touch()

    def touch(self) -> None:
        """Write soon: something is settled."""
        if self._settled_at is None:
            self._settled_at = time.monotonic()
        self._due.set()

    def touch_lazily(self) -> None:
        """Write within a second: only counts have changed."""
        if self._lazy is None and not self._due.is_set():
            self._lazy = asyncio.get_running_loop().call_later(_LAZY, self._lazily)

    def _lazily(self) -> None:
        self._lazy = None
        self._due.set()

    async def flush(self) -> None:
        """Return when everything said so far is stored.

        Raises:
            SpoolError: it could not be written just now; it is tried again by itself.
        """
        changed = any(held.ledger.changed for held in self._held.values())
        if not changed and not self._due.is_set() and not self._writing:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.next.append(future)
        self._due.set()
        self._at_once.set()
        await future

    async def safe(self) -> None:
        """Return when everything said so far is stored, however long that takes."""
        while True:
            try:
                return await self.flush()
            except SpoolError:
                await asyncio.sleep(_RETRY)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._due.wait()
            flushes, self._flushes = self._flushes, _Flushes()
            self._due.clear()
            self._at_once.clear()
            self._writing = True
            settled_at, self._settled_at = self._settled_at, None
            try:
                error = await self._round()
            finally:
                self._writing = False
            if error is not None and settled_at is not None:
                self._settled_at = settled_at
            flushes.end(error)
            await self._pause(_RETRY if error else self._interval)

    async def last_round(self) -> None:
        """Write what has changed, as well as that goes; for the end of the process."""
        if self._lazy is not None:
            self._lazy.cancel()
        error = await self._round()
        self._flushes.end(error)
        if error is not None:
            log.warning("what was settled last is not stored and will be delivered again", reason=str(error))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._at_once.wait()
        except TimeoutError:
            pass

    async def _round(self) -> SpoolError | None:
        for held in self:
            # one that was dropped meanwhile is detached, and its position has no end any more: its next holder must not read that
            if not held.ledger.changed or self._held.get(held.ledger.name) is not held:
                continue
            try:
                await self._write(held)
            except Fenced as error:
                if self._held.get(held.ledger.name) is held:
                    del self._held[held.ledger.name]
                    log.warning("another router has taken the position, it is not written here any more", sink=held.ledger.name)
                    self.on_fenced(held.ledger.name)
                self.trouble.reason = ""
                del error
            except (Unavailable, SpoolError) as error:
                self.trouble.failed(error)
                self._due.set()
                return SpoolError(f"the positions cannot be written: {error}")
        self.trouble.end()
        self.rounds += 1
        return None

    async def _write(self, held: Held) -> None:
        ledger = held.ledger
        held.write += 1
        ledger.changed = False
        ledger.kept()
        key = self._names.position_key(ledger.name)
        try:
            try:
                record = encode(ledger, self._end(), owner=held.owner, writer=self._writer, write=held.write)
                held.revision = await self._state.write(key, record, held.revision)
            except Stale:
                held.revision = await self._my_own(held)
                # what was written with the lost answer may be older
                ledger.changed = True
        except BaseException:
            ledger.changed = True
            raise

    async def _my_own(self, held: Held) -> int:
        """Return the revision if the last write was this process's own, whose answer was lost.

        Raises:
            Fenced: it was not.
        """
        found = await self.read(held.ledger.name)
        if found is None:
            log.warning("a position was deleted in the bucket, and is written again", sink=held.ledger.name)
            return 0
        if found[0].writer != self._writer or found[0].owner != held.owner:
            raise Fenced(f"another router has taken the position of {held.ledger.name}")
        return found[1]
