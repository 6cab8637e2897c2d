"""The durable spool: one append-only log in a SQLite file, shared by all sinks."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import apsw
import msgspec
import structlog

from edgerouter.config.model import SpoolConfig
from edgerouter.errors import SpoolError
from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool.account import Account, seal, unseal
from edgerouter.spool.accounts import Accounts
from edgerouter.spool.chunk import MAX_MESSAGES, Chunk, Header
from edgerouter.spool.contract import Rejection, Route, SpoolStatus
from edgerouter.spool.grouping import Append, group, payload_bytes
from edgerouter.spool.reader import Loaded, LogReader
from edgerouter.spool.recent import Recent
from edgerouter.spool.sqlite_commits import Commits
from edgerouter.spool.sqlite_store import Need, Opened, Store, Transaction, Trim, Written
from edgerouter.spool.sqlite_thread import DatabaseThread

_TRANSACTION_BYTES = 8 * 1024 * 1024
_TRIM_RANGES = 16
_LOAD_RETRY = 1.0

log = structlog.get_logger("edgerouter.spool")


class SqliteSpool:
    """The spool as the pipeline sees it.

    What is true is kept here, on the event loop; the database thread only writes down what it is given, one transaction at a time,
    and reads. So a transaction that fails changes nothing here, and is made again from what is true by then.
    """

    def __init__(self, config: SpoolConfig, thread: DatabaseThread, store: Store, state: Opened) -> None:
        record = store.record
        self.id = record.id
        self.end = record.next
        self._config = config
        self._store = store
        self._thread = thread
        self._loop = asyncio.get_running_loop()
        self._recent = Recent(config.cache_bytes, self.end)
        self._accounts = Accounts()
        self._commits = Commits(self._loop, thread, self, config.commit_interval)
        self._used, self._free = state.used, state.free
        self._first = state.first
        self._messages = record.messages
        self._written_bytes = 0
        self._acknowledged: dict[str, int] = {}
        self._put: dict[str, bytes] = {}
        self._delete: list[str] = []
        self._new_sinks = 0
        self._restore(state.values)

    # -- what the contract names ------------------------------------------------------------------------------------------------

    @property
    def status(self) -> SpoolStatus:
        return SpoolStatus(
            type="sqlite",
            id=self.id,
            state="ok",
            reason="",
            messages=self._messages,
            bytes=self._used,
            max_bytes=self._config.max_bytes,
            free_bytes=None,
            first_sequence=self._first,
            last_sequence=self.end - 1,
            written_bytes=self._written_bytes,
            commits=self._commits.count,
            quarantined_chunks=0,
            quarantined_messages=0,
            dead_letters=0,
            dead_letter_bytes=0,
            orphans=self._accounts.orphans,
        )

    @property
    def drops(self) -> Mapping[tuple[str, str, str], int]:
        return self._accounts.drops

    def count_dropped(self, topic: str, messages: int, reason: str) -> None:
        self._accounts.count_drops("", Counter({topic: messages}), reason)

    async def append(self, source: str, delivery: Delivery, wanted: Mapping[str, int]) -> None:
        if not delivery.messages:
            delivery.acknowledge()
            return
        accounts = self._accounts
        size = payload_bytes(delivery.messages)
        stored = self._loop.create_future()
        await self._commits.append(Append(source, delivery, accounts.keys(wanted), size, accounts.routing, stored))

    def unacknowledged(self, source: str) -> Sequence[Delivery]:
        return ()

    async def attach(self, route: Route) -> LogReader:
        oldest_at = None
        if route.sink in self._accounts:
            first = self._accounts[route.sink].position.first
            if first is not None:
                oldest_at = await self._thread.run(partial(self._store.received_at, first))

        def attach() -> LogReader:
            return self._accounts.attach(route, self, first=self._first, new_key=self._new_key, oldest_at=oldest_at)

        reader = await self._commits.between(attach)
        self._commits.touch()
        return reader

    async def detach(self, sink: str) -> None:
        await self._commits.between(lambda: self._accounts.detach(sink, self.end))
        self._commits.touch()

    async def forget(self, sink: str) -> None:
        if sink not in self._accounts:
            raise SpoolError(f"the spool holds nothing for a sink {sink!r}")
        await self._commits.between(lambda: self._forget(sink))
        self._commits.touch()
        await self._commits.flush()

    async def flush(self) -> None:
        await self._commits.flush()

    async def close(self) -> None:
        try:
            await self._commits.close()
        except SpoolError as error:
            log.warning("what was settled last is not on disk and will be delivered again", reason=str(error))

    # -- what readers ask -------------------------------------------------------------------------------------------------------

    def find(self, sequence: int) -> Chunk | None:
        """The chunk that holds the sequence, if it is in memory."""
        return self._recent.find(sequence)

    def load(self, account: Account, ranges: list[tuple[int, int]], done: Callable[[Loaded], None]) -> None:
        """Fetch the first chunks of these ranges; `done` is called later."""

        def loaded(result: tuple[Loaded, list[Header]] | None, error: BaseException | None) -> None:
            if result is None:
                log.error("spool cannot be read, trying again", reason=str(error), sink=account.name)
                self._loop.call_later(_LOAD_RETRY, done, Loaded())
                return
            done(result[0])

        self._thread.submit(partial(self._store.load, ranges, account.key, account.since), loaded)

    def settled(self, account: Account, ranges: list[tuple[int, int]]) -> None:
        """These are done for this sink: write that down, and look whether there is something to trim."""
        self.skipped(account, ranges)
        self._commits.touch()

    def skipped(self, account: Account, ranges: list[tuple[int, int]]) -> None:
        """The sink does not want these: no hurry to write that down."""
        del account
        settled = self._accounts.settled
        for start, end in ranges:
            settled.add(start, end)

    def count_drops(self, sink: str, topics: Counter[str], reason: str) -> None:
        """Count dropped messages by topic."""
        self._accounts.count_drops(sink, topics, reason)

    async def dead_letter(self, account: Account, ranges: list[tuple[int, int]], rejections: Sequence[Rejection]) -> None:
        """Store dead letters; returns when they are safe and their sequences are settled."""
        raise NotImplementedError

    async def keep_batch(self, account: Account, sequences: Sequence[int]) -> None:
        """Remember a batch; returns when that is safe."""
        raise NotImplementedError

    async def kept_batches(self, account: Account) -> list[list[Message]]:
        """The batches remembered."""
        return []

    # -- what is written --------------------------------------------------------------------------------------------------------

    def admit(self, waiting: deque[Append]) -> list[Append]:
        """Take off the deliveries that there is room for, in order."""
        appends: list[Append] = []
        size = 0
        while waiting and (not appends or size + waiting[0].size <= _TRANSACTION_BYTES):
            append = waiting.popleft()
            if append.stored.done():
                continue
            if append.routing != self._accounts.routing:
                self._accounts.recount(append)
            appends.append(append)
            size += append.size
        return appends

    def prepare(self, appends: list[Append]) -> Transaction:
        """Everything that is to be written just now."""
        transaction = Transaction(chunks=group(appends, self._accounts.matchers))
        matched: Counter[int] = Counter()
        for chunk in transaction.chunks:
            matched.update(chunk.wanted)
        put = transaction.put
        for account in self._accounts:
            count = matched[account.key]
            if count or account.changed:
                put[f"sink/{account.name}"] = account.record(matched=count)
                account.changed = False
        put.update(self._put)
        transaction.delete = self._delete
        self._put, self._delete = {}, []
        transaction.trims = self._trims()
        return transaction

    def write(self, transaction: Transaction) -> Written:
        """Write it; called in the database thread."""
        return self._store.write(transaction)

    def committed(self, transaction: Transaction, appends: list[Append], written: Written) -> None:
        """It is on disk: count it, let readers have it, acknowledge."""
        del transaction
        self._used, self._free = written.used, written.free
        self._first, self._messages = written.first, written.messages
        self._written_bytes += written.stored
        at = self.end
        for chunk in written.chunks:
            self._recent.add(chunk)
            self.end = chunk.end
            self._accounts.stored(chunk)
        for start, end in written.leftover:
            self._accounts.settled.add(start, end)
        if written.leftover:
            self._commits.touch()
        for append in appends:
            at += len(append.delivery.messages)
            append.end = at
            self._acknowledge(append)

    def failed(self, transaction: Transaction, appends: list[Append], error: BaseException) -> SpoolError:
        """Nothing of it is on disk: all of it is to be written again."""
        for trim in transaction.trims:
            self._accounts.settled.add(trim.start, trim.end)
        for account in self._accounts:
            if f"sink/{account.name}" in transaction.put:
                account.changed = True
        self._put = {name: value for name, value in transaction.put.items() if not name.startswith("sink/")} | self._put
        self._delete = transaction.delete + self._delete
        if not isinstance(error, (apsw.Error, OSError)):
            # not the disk: these messages cannot be stored, now or later
            for append in appends:
                if not append.stored.done():
                    append.stored.set_exception(error)
        log.error("spool cannot be written, trying again", reason=str(error))
        return SpoolError(str(error))

    def _acknowledge(self, append: Append) -> None:
        delivery = append.delivery
        try:
            delivery.acknowledge()
        except Exception:
            # the source's mistake must not keep the deliveries behind it from being acknowledged
            log.exception("a source failed to acknowledge", source=append.source)
        if delivery.receipt:
            self._acknowledged[append.source] = append.end
            self._put[f"source/{append.source}"] = seal(msgspec.msgpack.encode(append.end))
        if not append.stored.done():
            append.stored.set_result(None)

    def _trims(self) -> list[Trim]:
        settled = self._accounts.settled
        trims = []
        for start, end in list(settled)[:_TRIM_RANGES]:
            settled.remove(start, end)
            low, high = start - MAX_MESSAGES, end + MAX_MESSAGES
            needs = [
                Need(account.key, account.since, ranges)
                for account in self._accounts
                if (ranges := account.position.intersect(low, high))
            ]
            trims.append(Trim(start, end, needs))
        return trims

    # -- coming and going -------------------------------------------------------------------------------------------------------

    def _restore(self, state: Mapping[str, bytes]) -> None:
        for name, value in state.items():
            kind, _, rest = name.partition("/")
            try:
                if kind == "sink":
                    self._accounts.restore(Account.of_record(rest, value), self.end)
                elif kind == "source":
                    self._acknowledged[rest] = msgspec.msgpack.decode(unseal(value), type=int)
            except ValueError as error:
                log.warning("a value in the spool is damaged", name=name, reason=str(error))
        # what was settled and not trimmed when the last run ended: whatever no sink has pending
        settled = self._accounts.settled
        settled.add(self._first, self.end)
        for account in self._accounts:
            for start, end in account.position:
                settled.remove(start, end)

    def _new_key(self) -> int:
        # used in the database thread only for storing it, and written with the account that has it
        key = self._store.record.next_key
        self._store.record.next_key = key + 1
        return key

    def _forget(self, sink: str) -> None:
        account = self._accounts.forget(sink)
        self._delete.append(f"sink/{sink}")
        log.info("sink forgotten", sink=sink, pending=account.pending)
