"""The committer: gathers deliveries and settlements into transactions, and acknowledges deliveries once they are on disk.

The file reads in the order of a commit: gather, admit, write, acknowledge, trim.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import apsw
import msgspec
import structlog

from edgerouter.config.model import SpoolConfig
from edgerouter.errors import SpoolError
from edgerouter.spool.log import ledger_record
from edgerouter.spool.log.change import Change, changes_by
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.grouping import Append, group
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.recent import Recent
from edgerouter.spool.sqlite.admission import Admission
from edgerouter.spool.sqlite.batches import name_of
from edgerouter.spool.sqlite.capacity import Usage
from edgerouter.spool.sqlite.db.errors import DAMAGE
from edgerouter.spool.sqlite.db.transaction import Opened, Transaction, Written
from edgerouter.spool.sqlite.dead_letters import DeadLetters, NewDeadLetters
from edgerouter.spool.sqlite.health import Health
from edgerouter.spool.sqlite.schedule import LOOK_AGAIN, Alarm, Between, Flushes, Schedule
from edgerouter.spool.sqlite.store import Store
from edgerouter.spool.sqlite.thread import DatabaseThread
from edgerouter.spool.sqlite.trimming import Trimming
from edgerouter.spool.sqlite.write_set import LEDGER, WriteSet
from edgerouter.spool.status import SpoolState

T = TypeVar("T")

log = structlog.get_logger("edgerouter.spool")


class _Commit(msgspec.Struct, frozen=True):
    """A transaction, and what waits for it."""

    transaction: Transaction
    appends: list[Append]
    dead_letters: list[NewDeadLetters]
    began: float
    """Monotonic seconds."""


class Committer:
    """Group commit: one transaction at a time, with everything that waits.

    It is idle, waits for its alarm, or has one transaction running in the database thread. A delivery starts a transaction at once
    when none runs, and whatever arrives meanwhile joins the next one: the slower the disk, the larger the transactions, which keeps
    the throughput up. Settlements alone are not worth a sync: they wait until `commit_interval` after the last commit, or go along
    with deliveries that come sooner. A flush does not wait.

    Memory changes only after COMMIT has returned, in one step on the event loop, so no reader sees a message and no source an
    acknowledgement that a power cut could take back. A failed transaction has changed nothing: its parts return to where they came
    from, and the next transaction is made anew from what holds by then. After a failure deliveries back off, and settlements are
    tried at once without them, because on a full disk they make room. When settlements fail alone, everything backs off.

    Args:
        config: of the spool.
        thread: of the database.
        store: the database.
        opened: what was found in it.
        ledgers: of all sinks.
        evict: drops the oldest messages, so that about so many bytes become free.
        damaged: has the database replaced.
    """

    def __init__(
        self,
        config: SpoolConfig,
        thread: DatabaseThread,
        store: Store,
        opened: Opened,
        ledgers: Ledgers,
        *,
        evict: Callable[[int], None],
        damaged: Callable[[BaseException], None],
    ) -> None:
        self._thread, self._store = thread, store
        self._ledgers = ledgers
        self._damaged = damaged
        self.usage = Usage.opened(opened)
        self.health = Health(config, self.usage)
        self.recent = Recent(config.cache_bytes, self.usage.end)
        self.writes = WriteSet(self.touch)
        self.trimming = Trimming(opened, ledgers, self.usage, config.max_bytes, self.touch)
        quota = min(config.dead_letter_bytes, config.max_bytes // 4)
        self.dead_letters = DeadLetters(store, thread, ledgers, opened.dead_letters, quota=quota, touch=self.touch)
        self._admission = Admission(config, self.health, ledgers, self.trimming.receipts, writes=self.writes, evict=evict)
        self._schedule = Schedule(config.commit_interval)
        self._alarm = Alarm(self._begin)
        self._flushes = Flushes()
        self._waiting: deque[Append] = deque()
        self._between = Between()
        self._dirty = False  # there is something to write beside deliveries
        self._settled = 0  # messages, or more than any where something else has changed
        self._running = self._closed = False

    @property
    def state(self) -> tuple[SpoolState, str]:
        """State of the spool, and the reason when it is not `ok`."""
        return self.health.failure or (("full", self._admission.full) if self._admission.full else ("ok", ""))

    # -- gather -----------------------------------------------------------------------------------------------------------------

    async def append(self, append: Append) -> None:
        """Return when the delivery is stored and acknowledged."""
        if self._closed:
            raise SpoolError("the spool is closed")
        self._waiting.append(append)
        self._begin()
        await append.until_stored(self._waiting)

    def touch(self, settled: int = sys.maxsize) -> None:
        """Commit with the next deliveries, or soon: something beside them has changed, or only this many messages are settled."""
        self._dirty = True
        self._settled += settled
        if not self._running and not self._closed:
            # not at once even if one is due: the caller may have more to say
            self._alarm.set(max(0.0, self._schedule.settling_in(self._settled), self._schedule.blocked_for))

    async def between(self, call: Callable[[], T]) -> T:
        """Do something on the event loop while no transaction runs."""
        return await self._between.add(call) if self._running else call()

    async def flush(self) -> None:
        """Return when everything said so far is on disk.

        Raises:
            SpoolError: it could not be written just now; it is tried again by itself.
        """
        if not self._dirty and not self._running:
            return
        flushed = self._flushes.add(running=not self._dirty)
        self._begin()
        await flushed

    async def safe(self) -> None:
        """Return when everything said so far is on disk, however long that takes."""
        while True:
            try:
                return await self.flush()
            except SpoolError:
                await asyncio.sleep(LOOK_AGAIN)

    async def close(self) -> None:
        """Take no more deliveries, and write down what is settled as well as that goes."""
        try:
            await self.flush()
        finally:
            self._closed = True
            self._alarm.cancel()
            self._between.run()
            while self._waiting:
                append = self._waiting.popleft()
                if not append.stored.done():
                    append.stored.set_exception(SpoolError("the spool is closed"))

    def _begin(self) -> None:
        """Start a transaction if one is due; otherwise set the alarm for when one is."""
        if self._running or self._closed:
            return
        self._between.run()
        if self._schedule.blocked_for > 0 and not self._flushes:
            self._alarm.set(self._schedule.blocked_for)
            return
        appends = self._admit()
        if not appends:
            if not self._dirty:
                if self._waiting:
                    self._alarm.set(LOOK_AGAIN)
                return
            if (wait := self._schedule.settling_in(self._settled)) > 0 and not self._flushes:
                self._alarm.set(wait)
                return
        self._write(appends)

    # -- admit ------------------------------------------------------------------------------------------------------------------

    def _admit(self) -> list[Append]:
        """Take off the deliveries that there is room for, in order."""
        return self._admission.admit(self._waiting) if self._waiting and self._schedule.appends_due else []

    # -- write ------------------------------------------------------------------------------------------------------------------

    def _write(self, appends: list[Append]) -> None:
        """Start the transaction; the database thread runs it."""
        self._alarm.cancel()
        self._running, self._dirty, self._settled = True, False, 0
        self._flushes.begin()
        commit = self._prepare(appends)
        self._thread.submit(partial(self._store.write, commit.transaction), partial(self._ended, commit))

    def _prepare(self, appends: list[Append]) -> _Commit:
        """Collect everything that is to be written."""
        transaction = self.writes.take()
        transaction.chunks = group(appends, self._ledgers.matchers)
        transaction.receipts = self.trimming.receipts.spans(self.usage.end, appends)
        changes, end = changes_by(transaction.chunks, self.usage.end)
        dead_letters = self.dead_letters.prepare(changes)
        transaction.dead_letters = [row for each in dead_letters for row in each.rows]
        transaction.thrown_away = self.dead_letters.remove()
        transaction.replayed = [place for append in appends for place in append.dead_letters]
        for ledger in self._ledgers:
            transaction.delete += [name_of(number, ledger.name) for number in ledger.kept()]
            change = changes.get(ledger.key)
            if change is not None or ledger.changed:
                transaction.put[f"{LEDGER}{ledger.name}"] = ledger_record.encode(ledger, change or Change(), end)
                ledger.changed = False
        transaction.trims = self.trimming.due(appends=bool(appends))
        return _Commit(transaction, appends, dead_letters, time.monotonic())

    def _ended(self, commit: _Commit, written: Written | None, error: BaseException | None) -> None:
        self._running = False
        if written is not None:
            self._schedule.succeeded(appends=bool(commit.appends))
            self._acknowledge(commit, written)
            self._flushes.end()
        else:
            assert error is not None
            self._schedule.failed(appends=bool(commit.appends))
            self._flushes.end(self._failed(commit, error))
        self._begin()

    # -- acknowledge ------------------------------------------------------------------------------------------------------------

    def _acknowledge(self, commit: _Commit, written: Written) -> None:
        """All of it is on disk: count it, let readers have it, and acknowledge the deliveries."""
        self.usage.update(written, time.monotonic() - commit.began)
        self._publish(commit.appends, written.chunks)
        self._trim(commit, written)
        for append in commit.appends:
            append.acknowledge()  # the promise: acknowledge after commit, in the order received
        self.health.written(appends=bool(commit.appends), stuck=written.stuck)

    def _publish(self, appends: list[Append], chunks: list[Chunk]) -> None:
        first = self.usage.end
        # what every sink has read is not kept in memory: the next messages find its place warm
        self.recent.forget(self._ledgers.unread_from)
        for append in appends:
            self.trimming.receipts.stored(append, first)
            first += len(append.delivery.messages)
        for chunk in chunks:
            self.recent.add(chunk)
            self.usage.end = chunk.end
            self._ledgers.stored(chunk)

    def _failed(self, commit: _Commit, error: BaseException) -> SpoolError:
        """Nothing of it is on disk: all of it is to be written again. Returns the reason for those who wait for a flush."""
        transaction, appends = commit.transaction, commit.appends
        self._waiting.extendleft(append for append in reversed(appends) if not append.stored.done())
        self._dirty, self._settled = True, sys.maxsize
        self.trimming.failed(transaction)
        for ledger in self._ledgers:
            ledger.changed = ledger.changed or f"{LEDGER}{ledger.name}" in transaction.put
        self.writes.take_back(transaction)
        self.dead_letters.failed(commit.dead_letters, appends=bool(appends))
        self.dead_letters.not_removed(transaction.thrown_away)
        self.health.failed(appends=bool(appends))
        if isinstance(error, (apsw.Error, OSError, *DAMAGE)):
            return self.cannot_write(error)
        # not the disk: these messages cannot be stored, now or later
        log.error("deliveries cannot be stored", reason=f"{type(error).__name__}: {error}", exc_info=error)
        for append in appends:
            if not append.stored.done():
                append.stored.set_exception(error)
        return SpoolError(f"{type(error).__name__}: {error}")

    def cannot_write(self, error: BaseException) -> SpoolError:
        """Note what keeps the spool from being written, and have a damaged database replaced; return the reason for callers."""
        if isinstance(error, DAMAGE):
            self._damaged(error)
        return self.health.cannot_write(error)

    # -- trim -------------------------------------------------------------------------------------------------------------------

    def _trim(self, commit: _Commit, written: Written) -> None:
        """Keep for the next transaction what this one has settled, or had no time to trim."""
        self.trimming.written(commit.transaction, written)
        if self.dead_letters.committed(commit.dead_letters) or written.leftover:
            self.touch()
        self.dead_letters.removed(commit.transaction.replayed + commit.transaction.thrown_away)
