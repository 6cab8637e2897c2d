"""The durable spool: one append-only log in a SQLite file, shared by all sinks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import structlog

from edgerouter.config.model import SpoolConfig
from edgerouter.errors import SpoolError
from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool.contract import Rejection, Route
from edgerouter.spool.log.chunk import Chunk, Header
from edgerouter.spool.log.grouping import Append, payload_bytes
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.position import Position
from edgerouter.spool.log.reader import LogReader
from edgerouter.spool.log.storage import Loaded
from edgerouter.spool.operator import SpoolTools
from edgerouter.spool.sqlite.batches import Batches
from edgerouter.spool.sqlite.committer import Committer
from edgerouter.spool.sqlite.counting import Counting
from edgerouter.spool.sqlite.db.errors import DAMAGE
from edgerouter.spool.sqlite.db.transaction import Opened
from edgerouter.spool.sqlite.losses import Losses
from edgerouter.spool.sqlite.operator import SqliteTools
from edgerouter.spool.sqlite.restoring import restore_ledgers
from edgerouter.spool.sqlite.salvaging import Salvaging
from edgerouter.spool.sqlite.store import Store
from edgerouter.spool.sqlite.thread import DatabaseThread
from edgerouter.spool.sqlite.write_set import LEDGER
from edgerouter.spool.status import Ledger, SpoolStatus

_LOAD_RETRY: Final = 1.0

log = structlog.get_logger("edgerouter.spool")


class SqliteSpool:
    """The spool as the pipeline sees it.

    What is true is kept here, on the event loop; the database thread only writes down what it is given, one transaction at a time,
    and reads. So a transaction that fails changes nothing here, and is made again from what is true by then.
    """

    def __init__(self, config: SpoolConfig, thread: DatabaseThread, store: Store, opened: Opened) -> None:
        self.id = store.record.id
        self._config = config
        self._store = store
        self._thread = thread
        self._loop = asyncio.get_running_loop()
        ledgers = self._ledgers = Ledgers(forgotten=opened.forgotten)
        # full disks, damage and lost messages concern several parts at once: they reach each other through the methods below
        committer = self._committer = Committer(config, thread, store, opened, ledgers, evict=self._evict, damaged=self._damaged)
        batches = self._batches = Batches(committer.writes)
        losses = self._losses = Losses(
            store, thread, ledgers, committer.writes, opened.quarantined, recount=self._recount, damaged=self._damaged
        )
        salvaging = self._salvaging = Salvaging(
            store, thread, committer, ledgers=ledgers, batches=batches, losses=losses, recount=self._recount
        )
        counting = self._counting = Counting(
            store=store, thread=thread, ledgers=ledgers, losses=losses, salvaging=salvaging, committer=committer
        )
        # lowest sequence that a sink may start at: what is being salvaged is still to come
        self._first_salvaged = opened.salvage[0] if opened.salvage is not None else None
        self._restore(opened)
        self._tools = SqliteTools(
            store=store, thread=thread, ledgers=ledgers, committer=committer, salvaging=salvaging, counting=counting
        )

    # -- what the parts ask of each other ---------------------------------------------------------------------------------------

    def _evict(self, need: int) -> None:
        self._losses.evict(need)

    def _damaged(self, error: BaseException) -> None:
        self._salvaging.recover(error)

    def _recount(self, ledger: SinkLedger | None = None) -> None:
        self._counting.doubt(ledger)

    # -- what the contract names ------------------------------------------------------------------------------------------------

    @property
    def status(self) -> SpoolStatus:
        committer = self._committer
        usage = committer.usage
        state, reason = committer.state
        return SpoolStatus(
            type="sqlite",
            id=self.id,
            state=state,
            reason=reason,
            messages=usage.messages,
            bytes=usage.used,
            max_bytes=self._config.max_bytes,
            free_bytes=committer.health.capacity.free_bytes,
            first_sequence=usage.first,
            last_sequence=usage.end - 1,
            written_bytes=usage.written_bytes,
            commits=usage.commits,
            quarantined_chunks=self._losses.quarantined_chunks,
            quarantined_messages=self._losses.quarantined_messages,
            dead_letters=committer.dead_letters.count,
            dead_letter_bytes=committer.dead_letters.bytes,
            orphans=self._ledgers.orphans,
            commit_times=usage.commit_times,
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
        if not delivery.messages:
            delivery.acknowledge()
            return
        ledgers = self._ledgers
        size = payload_bytes(delivery.messages)
        stored = self._loop.create_future()
        await self._committer.append(Append(source, delivery, ledgers.keys(wanted), size, ledgers.routing, stored))

    def unacknowledged(self, source: str) -> Sequence[Delivery]:
        return self._committer.trimming.receipts.of(source)

    async def attach(self, route: Route) -> LogReader:
        oldest_at = None
        if route.sink in self._ledgers:
            first = self._ledgers[route.sink].position.first
            if first is not None:
                try:
                    oldest_at = await self._thread.run(lambda: self._store.received_at(first))
                except DAMAGE as error:
                    self._salvaging.recover(error)

        def attach() -> LogReader:
            reader = self._ledgers.attach(route, self, first=self._first, new_key=self._new_key, oldest_at=oldest_at)
            # one that is new may have left dead letters behind when it was forgotten
            self._committer.dead_letters.reconcile(reader.sink_ledger)
            return reader

        reader = await self._committer.between(attach)
        self._committer.touch()
        await self._counting.begin(reader.sink_ledger)
        self._ledgers.check(reader.sink_ledger, self._committer.usage.end)
        return reader

    async def detach(self, sink: str) -> None:
        await self._committer.between(lambda: self._ledgers.detach(sink, self.end))
        self._committer.touch()

    async def forget(self, sink: str) -> None:
        ledger = self._ledgers.forget(sink)
        self._committer.writes.put(f"{LEDGER}{sink}", None)
        self._batches.forget(ledger)
        log.info("sink forgotten", sink=sink, pending=ledger.pending)
        await self._committer.flush()

    async def hand_over(self) -> None:
        pass

    async def beat(self) -> None:
        await self._thread.run(lambda: None)

    async def flush(self) -> None:
        await self._committer.flush()

    async def close(self) -> None:
        # also writes down that everything is acknowledged
        self._committer.touch()
        self._salvaging.stop()
        self._counting.stop()
        try:
            await self._committer.close()
        except SpoolError as error:
            log.warning("what was settled last is not on disk and will be delivered again", reason=str(error))

    # -- what readers ask -------------------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """The sequence that the next message will have."""
        return self._committer.usage.end

    def find(self, sequence: int) -> Chunk | None:
        """The chunk that holds the sequence, if it is in memory."""
        return self._committer.recent.find(sequence)

    def load(self, ledger: SinkLedger, ranges: list[tuple[int, int]], done: Callable[[Loaded], None]) -> None:
        """Fetch the first chunks of these ranges; `done` is called later."""
        ready = self._salvaging.ready(ranges)
        if not ready:
            self._salvaging.when_further(partial(self.load, ledger, ranges, done))
            return

        def loaded(result: tuple[Loaded, list[Header]] | None, error: BaseException | None) -> None:
            if result is None:
                if isinstance(error, DAMAGE):
                    self._salvaging.recover(error)
                log.error("spool cannot be read, trying again", reason=str(error), sink=ledger.name)
                self._loop.call_later(_LOAD_RETRY, done, Loaded())
                return
            self._losses.damaged(result[1])
            done(result[0])

        self._thread.submit(lambda: self._store.load(ready, ledger.key, ledger.since), loaded)

    def settled(self, ledger: SinkLedger, ranges: list[tuple[int, int]]) -> None:
        """These are done for this sink: write that down, and look whether there is something to trim."""
        self.skipped(ledger, ranges)
        self._committer.touch(sum([end - start for start, end in ranges]))

    def skipped(self, ledger: SinkLedger, ranges: list[tuple[int, int]]) -> None:
        """The sink does not want these: that is written with whatever comes next."""
        settled = self._ledgers.settled
        for start, end in ranges:
            settled.add(start, end)
        if ledger.pending or ledger.difference:
            self._ledgers.check(ledger, self._committer.usage.end)

    def count_drops(self, sink: str, topics: Counter[str], reason: str) -> None:
        """Count dropped messages by topic."""
        self._ledgers.drops.count(sink, topics, reason)

    async def dead_letter(self, ledger: SinkLedger, ranges: list[tuple[int, int]], rejections: Sequence[Rejection]) -> None:
        """Store dead letters; returns when they are safe and their sequences are settled."""
        stored = self._committer.dead_letters.add(ledger, ranges, rejections)
        self._committer.touch()
        await stored

    async def keep_batch(self, ledger: SinkLedger, sequences: Sequence[int]) -> None:
        """Remember a batch; returns when that is safe."""
        self._batches.keep(ledger, Position((sequence, sequence + 1) for sequence in sequences))
        await self._committer.safe()

    async def kept_batches(self, ledger: SinkLedger) -> list[list[Message]]:
        """The batches remembered."""
        kept = []
        for number in sorted(ledger.batches):
            ranges = [r for a, b in ledger.batches[number] for r in ledger.position.intersect(a, b)]
            # a batch is given back whole or not at all, so it waits for a salvage
            messages = await self._salvaging.read(partial(self._store.messages, ranges))
            if messages:
                kept.append(messages)
        return kept

    # -- starting ---------------------------------------------------------------------------------------------------------------

    def _restore(self, opened: Opened) -> None:
        end = self.end
        restore_ledgers(opened.values, self._ledgers, first=self._first, end=end, new_key=self._new_key)
        for ledger in self._ledgers:
            doubtful = opened.salvage is not None or opened.holes
            if doubtful or opened.missing is not None:
                ledger.after_damage(end, opened.missing, doubtful=doubtful)
            self._committer.dead_letters.reconcile(ledger)
        self._batches.restore(opened.values, self._ledgers)
        # what was settled and not trimmed when the last run ended
        self._committer.trimming.examine_all(end)
        self._salvaging.start(opened.salvage)
        for ledger in self._ledgers:
            self._counting.go_on(ledger)

    @property
    def _first(self) -> int:
        """The lowest sequence that is held, or will be once the salvage is done."""
        return self._committer.usage.first if self._first_salvaged is None else self._first_salvaged

    def _new_key(self) -> int:
        # no transaction runs just now, and the next one stores it with the ledger that has it
        key = self._store.record.next_key
        self._store.record.next_key = key + 1
        return key
