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
from edgerouter.spool.contract import Ledger, Rejection, Route, SpoolStatus
from edgerouter.spool.log import ledger_record
from edgerouter.spool.log.chunk import Chunk, Header
from edgerouter.spool.log.grouping import Append, payload_bytes
from edgerouter.spool.log.ledger import SinkLedger, unseal
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.position import Position
from edgerouter.spool.log.reader import LogReader
from edgerouter.spool.log.receipts import Receipts
from edgerouter.spool.log.storage import Loaded
from edgerouter.spool.operator import SpoolTools
from edgerouter.spool.sqlite.capacity import Usage
from edgerouter.spool.sqlite.commits import Commits
from edgerouter.spool.sqlite.counting import Counting
from edgerouter.spool.sqlite.db.errors import DAMAGE
from edgerouter.spool.sqlite.db.transaction import Opened
from edgerouter.spool.sqlite.dead_letters import DeadLetters
from edgerouter.spool.sqlite.losses import Losses
from edgerouter.spool.sqlite.operator import Parts, SqliteTools
from edgerouter.spool.sqlite.salvaging import Salvaging
from edgerouter.spool.sqlite.store import Store
from edgerouter.spool.sqlite.thread import DatabaseThread
from edgerouter.spool.sqlite.writer import Writing

_LOAD_RETRY: Final = 1.0
_TRIM_AFTER: Final = 1.0

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
        self._usage = Usage.opened(opened)
        self._ledgers = Ledgers()
        quota = min(config.dead_letter_bytes, config.max_bytes // 4)
        self._dead_letters = DeadLetters(store, thread, self._ledgers, opened.dead_letters, quota)
        self._receipts = Receipts(opened.unacknowledged)
        self._receipts.released = self._trim_soon
        self._writing = Writing(config, store, self._usage, self._ledgers, self._dead_letters, receipts=self._receipts)
        self._losses = Losses(store, thread, self._ledgers, self._writing)
        self._losses.quarantined_chunks, self._losses.quarantined_messages = opened.quarantined
        self._commits = Commits(self._loop, thread, self._writing, config.commit_interval)
        self._writing.evict = self._losses.evict
        self._writing.mark = self._dead_letters.mark = self._commits.touch
        self._salvaging = Salvaging(store, thread, self._writing, self._losses)
        self._writing.recover = self._salvaging.recover
        self._counting = Counting(
            store=store,
            thread=thread,
            ledgers=self._ledgers,
            losses=self._losses,
            salvaging=self._salvaging,
            writing=self._writing,
        )
        self._losses.recount = self._salvaging.recount = self._counting.doubt
        self._trimming_soon = False
        self._batch = 1
        self._ledgers.forgotten = opened.forgotten
        # lowest sequence that a sink may start at: what is being salvaged is still to come
        self._first_salvaged = opened.salvage[0] if opened.salvage is not None else None
        self._restore(opened)
        self._tools = SqliteTools(
            Parts(
                store,
                thread,
                self._usage,
                self._ledgers,
                self._dead_letters,
                self._commits,
                self._writing,
                self._salvaging,
                self._counting,
            )
        )

    # -- what the contract names ------------------------------------------------------------------------------------------------

    @property
    def status(self) -> SpoolStatus:
        usage = self._usage
        state, reason = self._writing.state
        return SpoolStatus(
            type="sqlite",
            id=self.id,
            state=state,
            reason=reason,
            messages=usage.messages,
            bytes=usage.used,
            max_bytes=self._config.max_bytes,
            free_bytes=self._writing.capacity.free_bytes,
            first_sequence=usage.first,
            last_sequence=usage.end - 1,
            written_bytes=usage.written_bytes,
            commits=self._commits.count,
            quarantined_chunks=self._losses.quarantined_chunks,
            quarantined_messages=self._losses.quarantined_messages,
            dead_letters=self._dead_letters.count,
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
        self._ledgers.count_drops("", Counter({topic: messages}), reason)

    async def append(self, source: str, delivery: Delivery, wanted: Mapping[str, int]) -> None:
        if not delivery.messages:
            delivery.acknowledge()
            return
        ledgers = self._ledgers
        size = payload_bytes(delivery.messages)
        stored = self._loop.create_future()
        await self._commits.append(Append(source, delivery, ledgers.keys(wanted), size, ledgers.routing, stored))

    def unacknowledged(self, source: str) -> Sequence[Delivery]:
        return self._receipts.of(source)

    async def attach(self, route: Route) -> LogReader:
        oldest_at = None
        if route.sink in self._ledgers:
            first = self._ledgers[route.sink].position.first
            if first is not None:
                try:
                    oldest_at = await self._thread.run(partial(self._store.received_at, first))
                except DAMAGE as error:
                    self._salvaging.recover(error)

        def attach() -> LogReader:
            reader = self._ledgers.attach(route, self, first=self._first, new_key=self._new_key, oldest_at=oldest_at)
            # one that is new may have left dead letters behind when it was forgotten
            self._dead_letters.reconcile(reader.sink_ledger)
            return reader

        reader = await self._commits.between(attach)
        self._commits.touch()
        await self._counting.begin(reader.sink_ledger)
        self._ledgers.check(reader.sink_ledger, self._usage.end)
        return reader

    async def detach(self, sink: str) -> None:
        await self._commits.between(lambda: self._ledgers.detach(sink, self.end))
        self._commits.touch()

    async def forget(self, sink: str) -> None:
        if sink not in self._ledgers:
            raise SpoolError(f"the spool holds nothing for a sink {sink!r}")
        if self._ledgers.reader(sink) is not None:
            raise SpoolError(f"the sink {sink!r} is in the configuration")
        ledger = self._ledgers.forget(sink)
        self._writing.put(f"sink/{sink}", None)
        for number in ledger.batches:
            self._writing.put(f"batch/{number}/{sink}", None)
        log.info("sink forgotten", sink=sink, pending=ledger.pending)
        await self._commits.flush()

    async def flush(self) -> None:
        await self._commits.flush()

    async def close(self) -> None:
        # also writes down that everything is acknowledged
        self._commits.touch()
        self._salvaging.stop()
        self._counting.stop()
        try:
            await self._commits.close()
        except SpoolError as error:
            log.warning("what was settled last is not on disk and will be delivered again", reason=str(error))

    # -- what readers ask -------------------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """The sequence that the next message will have."""
        return self._usage.end

    def find(self, sequence: int) -> Chunk | None:
        """The chunk that holds the sequence, if it is in memory."""
        return self._writing.recent.find(sequence)

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

        self._thread.submit(lambda: self._store.rows.load(ready, ledger.key, ledger.since), loaded)

    def settled(self, ledger: SinkLedger, ranges: list[tuple[int, int]]) -> None:
        """These are done for this sink: write that down, and look whether there is something to trim."""
        self.skipped(ledger, ranges)
        self._commits.touch()

    def _trim_soon(self) -> None:
        """Receipts are not needed any more: trim what was kept for them, with a transaction that comes anyhow if one comes soon."""
        if not self._trimming_soon and self._ledgers.settled:
            self._trimming_soon = True
            self._loop.call_later(_TRIM_AFTER, self._trim)

    def _trim(self) -> None:
        self._trimming_soon = False
        if self._ledgers.settled:
            self._commits.touch()

    def skipped(self, ledger: SinkLedger, ranges: list[tuple[int, int]]) -> None:
        """The sink does not want these: no hurry to write that down."""
        settled = self._ledgers.settled
        for start, end in ranges:
            settled.add(start, end)
        if ledger.pending or ledger.difference:
            self._ledgers.check(ledger, self._usage.end)

    def count_drops(self, sink: str, topics: Counter[str], reason: str) -> None:
        """Count dropped messages by topic."""
        self._ledgers.count_drops(sink, topics, reason)

    async def dead_letter(self, ledger: SinkLedger, ranges: list[tuple[int, int]], rejections: Sequence[Rejection]) -> None:
        """Store dead letters; returns when they are safe and their sequences are settled."""
        stored = self._dead_letters.add(ledger, ranges, rejections)
        self._commits.touch()
        await stored

    async def keep_batch(self, ledger: SinkLedger, sequences: Sequence[int]) -> None:
        """Remember a batch; returns when that is safe."""
        batch = Position((sequence, sequence + 1) for sequence in sequences)
        for number, other in list(ledger.batches.items()):
            before = other.copy()
            for start, end in batch:
                other.remove(start, end)
            if other != before:
                # a message is in one batch: the one that was kept last
                self._writing.put(f"batch/{number}/{ledger.name}", other.encode())
        number = self._batch
        self._batch += 1
        ledger.batches[number] = batch
        self._writing.put(f"batch/{number}/{ledger.name}", batch.encode())
        await self._commits.safe()

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
        """Read the stored ledgers. One that is damaged begins again with everything that is stored: better twice than never."""
        end = self._usage.end
        batches: list[tuple[str, int, Position]] = []
        for name, value in sorted(opened.values.items()):
            kind, _, rest = name.partition("/")
            if kind == "sink":
                try:
                    ledger = ledger_record.decode(rest, value)
                except ValueError as error:
                    log.warning("a damaged position begins again at the oldest message", sink=rest, reason=str(error))
                    ledger = SinkLedger(rest, self._new_key(), since=end, changed=True)
                    ledger.position.add(self._first, end)
                    ledger.uncounted.add((), [(self._first, end)])
                self._ledgers.restore(ledger, end)
            elif kind == "batch":
                number, _, sink = rest.partition("/")
                try:
                    batches.append((sink, int(number), Position.decode(unseal(value))))
                except ValueError as error:
                    log.warning("a damaged batch is forgotten", sink=sink, reason=str(error))
                    self._writing.put(name, None)
        for ledger in self._ledgers:
            if opened.salvage is not None or opened.missing is not None:
                ledger.after_damage(end, opened.missing, doubtful=opened.salvage is not None)
            self._dead_letters.reconcile(ledger)
        for sink, kept, batch in batches:
            self._batch = max(self._batch, kept + 1)
            if sink in self._ledgers:
                self._ledgers[sink].batches[kept] = batch
        # what was settled and not trimmed when the last run ended
        self._writing.look_at_everything(end)
        self._salvaging.start(opened.salvage)
        for ledger in self._ledgers:
            self._counting.go_on(ledger)

    @property
    def _first(self) -> int:
        """The lowest sequence that is held, or will be once the salvage is done."""
        return self._usage.first if self._first_salvaged is None else self._first_salvaged

    def _new_key(self) -> int:
        # no transaction runs just now, and the next one stores it with the ledger that has it
        key = self._store.record.next_key
        self._store.record.next_key = key + 1
        return key
