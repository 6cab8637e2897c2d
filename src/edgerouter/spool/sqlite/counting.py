"""Counting what waits for a sink by its present topic filters, a little at a time in the database thread.

A sink need not wait for it: until it is done, `Ledger.uncounted` is the number of messages that are still to be compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
import structlog

from edgerouter.spool.log.chunk import Damaged, Header
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.uncounted import Counted, Part, compare
from edgerouter.spool.sqlite.committer import Committer
from edgerouter.spool.sqlite.db.errors import DAMAGE
from edgerouter.spool.sqlite.losses import Losses
from edgerouter.spool.sqlite.salvaging import Salvaging
from edgerouter.spool.sqlite.store import Store
from edgerouter.spool.sqlite.thread import DatabaseThread
from edgerouter.topics import Matcher

STEP_MESSAGES: Final = 4000
_STEP_BYTES: Final = 1024 * 1024
_STEP_RANGES: Final = 256
_STEP_ROWS: Final = 64
PATIENCE: Final = 0.25
"""Seconds that a sink's start waits for its count: enough for some 30,000 messages (measured: 130,000 a second)."""
_RETRY: Final = 1.0

log = structlog.get_logger("edgerouter.spool")


class _Found(msgspec.Struct):
    """Result of one counting step."""

    counted: list[Counted] = msgspec.field(default_factory=list)
    gone: list[tuple[int, int]] = msgspec.field(default_factory=list)
    """Sequences under which nothing is stored."""
    damaged: list[Header] = msgspec.field(default_factory=list)


class _Filters(msgspec.Struct, frozen=True):
    """The filters of a sink."""

    key: int
    before: tuple[str, ...]
    now: Matcher


class Counting:
    """Counts for one sink at a time in steps, between which the router commits and reads."""

    def __init__(
        self,
        *,
        store: Store,
        thread: DatabaseThread,
        ledgers: Ledgers,
        losses: Losses,
        salvaging: Salvaging,
        committer: Committer,
    ) -> None:
        self._store = store
        self._thread = thread
        self._ledgers = ledgers
        self._losses = losses
        self._salvaging = salvaging
        self._committer = committer
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._closed = False

    async def begin(self, ledger: SinkLedger, *, whole: bool = False) -> None:
        """Count what is not counted, for a while; the rest is counted while the sink works.

        Args:
            ledger: whose.
            whole: return only when everything is counted.
        """
        if not ledger.uncounted or self._closed:
            return
        done = self._loop.create_future()
        self._begin(ledger, done)
        # a salvage takes its time
        patience = 0 if self._salvaging.active else PATIENCE
        await asyncio.wait([done], timeout=None if whole else patience)

    def doubt(self, ledger: SinkLedger | None = None) -> None:
        """After damage, count anew what is pending, for one sink or for all."""
        for each in self._ledgers if ledger is None else (ledger,):
            self._ledgers.doubt(each, self._committer.usage.end)
            self._begin(each, self._loop.create_future())

    def stop(self) -> None:
        """Count no more; the next start goes on."""
        self._closed = True
        for name in list(self._waiting):
            self._end(name)

    def go_on(self, ledger: SinkLedger) -> None:
        """Count what is not counted, or finish what an earlier run began."""
        if ledger.uncounted or ledger.missing:
            self._begin(ledger, self._loop.create_future())

    def _begin(self, ledger: SinkLedger, done: asyncio.Future[None]) -> None:
        if ledger.name in self._waiting:
            self._waiting[ledger.name].append(done)
        else:
            self._waiting[ledger.name] = [done]
            self._step(ledger)

    def _step(self, ledger: SinkLedger) -> None:
        part = next(iter(ledger.uncounted), None)
        current = ledger.name in self._ledgers and self._ledgers[ledger.name] is ledger
        if part is None or not current or self._closed:
            if part is None:
                self._ledgers.counted(ledger)
                self._committer.touch()
            self._end(ledger.name)
            return
        start = part.ranges.first or 0
        chunk = self._committer.recent.find(start)
        if chunk is not None:
            ledger.look_at(chunk, [(chunk.first, chunk.end)], self._ledgers.wants(ledger))
            self._loop.call_soon(self._step, ledger)
            return
        ranges = self._salvaging.ready(self._on_disk(part))
        if not ranges:
            self._salvaging.when_further(partial(self._step, ledger))
            return
        count = partial(_count, self._store, ranges, _Filters(ledger.key, part.filters, Matcher(ledger.filters)))
        self._thread.submit(count, partial(self._counted, ledger, part, ledger.filters))

    def _on_disk(self, part: Part) -> list[tuple[int, int]]:
        """The first ranges, up to those that are in memory."""
        ranges = []
        for start, end in list(part.ranges)[:_STEP_RANGES]:
            if start >= self._committer.recent.first:
                break
            ranges.append((start, min(end, self._committer.recent.first)))
        return ranges

    def _counted(
        self, ledger: SinkLedger, part: Part, filters: tuple[str, ...], found: _Found | None, error: BaseException | None
    ) -> None:
        if found is None:
            if isinstance(error, DAMAGE):
                self._salvaging.recover(error)
            log.error("what waits cannot be counted, trying again", reason=str(error), sink=ledger.name)
            self._loop.call_later(_RETRY, self._step, ledger)
            return
        self._losses.damaged(found.damaged)
        if ledger.filters == filters:
            # what was read or settled meanwhile is counted already; a piece of which that is true in part is counted again
            ranges = part.ranges
            ledger.recount(each for each in found.counted if ranges.count(each.start, each.end) == each.end - each.start)
            for start, end in found.gone:
                self._ledgers.gone(ledger, start, end)
        self._step(ledger)

    def _end(self, name: str) -> None:
        for future in self._waiting.pop(name, ()):
            if not future.done():
                future.set_result(None)


def _count(store: Store, ranges: Sequence[tuple[int, int]], filters: _Filters) -> _Found:
    """Count the first messages of these ranges; called in the database thread."""
    found = _Found()
    messages = size = 0
    for start, end in ranges:
        at = start
        while at < end:
            headers = [h for h in store.rows.headers(at, end, _STEP_ROWS) if h.first + max(1, h.messages) > at]
            if not headers:
                # nothing is stored up to the end
                found.gone.append((at, end))
                break
            for header in headers:
                if messages >= STEP_MESSAGES or size >= _STEP_BYTES:
                    return found
                above = min(end, header.first + max(1, header.messages))
                if header.first > at:
                    found.gone.append((at, header.first))
                    at = header.first
                messages += header.messages
                size += header.raw
                try:
                    found.counted.append(_count_chunk(store, header, (at, above), filters))
                except Damaged:
                    # the reader counts it as lost when it removes it from the spool
                    found.damaged.append(header)
                at = above
    return found


def _count_chunk(store: Store, header: Header, within: tuple[int, int], filters: _Filters) -> Counted:
    start, end = within
    topics = store.codec.topics(header, store.rows.payload(header))[start - header.first : end - header.first]
    if header.only:
        return Counted(start, end, len(topics) if header.only == filters.key and not filters.before else 0, 0)
    return Counted(start, end, *compare(topics, filters.before, filters.now))
