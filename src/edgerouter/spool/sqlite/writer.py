"""What goes into a transaction, and what it means once it is on disk."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import apsw
import structlog

from edgerouter.config.model import SpoolConfig
from edgerouter.errors import SpoolError, SpoolFull, SpoolReadOnly
from edgerouter.spool.contract import SpoolState
from edgerouter.spool.log import ledger_record
from edgerouter.spool.log.chunk import Header
from edgerouter.spool.log.grouping import Append, group
from edgerouter.spool.log.ledger import Change, seal
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.position import Position
from edgerouter.spool.log.receipts import Receipts
from edgerouter.spool.log.recent import Recent
from edgerouter.spool.sqlite.capacity import MESSAGE_OVERHEAD, Capacity, Reserve, Usage
from edgerouter.spool.sqlite.db.errors import COMPLAIN_EVERY, DAMAGE, Trouble, explain
from edgerouter.spool.sqlite.db.transaction import Opened, Transaction, Written
from edgerouter.spool.sqlite.db.trim import due
from edgerouter.spool.sqlite.dead_letters import DeadLetters
from edgerouter.spool.sqlite.store import Store

_TRANSACTION_BYTES: Final = 8 * 1024 * 1024
_FOLD_IN_EVERY: Final = 0.5

log = structlog.get_logger("edgerouter.spool")


class Writing:
    """Owns what waits to be written; `Commits` says when."""

    def __init__(
        self,
        config: SpoolConfig,
        store: Store,
        usage: Usage,
        ledgers: Ledgers,
        dead_letters: DeadLetters,
        *,
        receipts: Receipts,
    ) -> None:
        self._config = config
        self._store = store
        self.usage = usage
        self._ledgers = ledgers
        self._dead_letters = dead_letters
        self.capacity = Capacity(config, usage)
        # the reserve must be able to take the log of one transaction
        self._most = min(_TRANSACTION_BYTES, self.capacity.reserve // 2)
        self.recent = Recent(config.cache_bytes, usage.end)
        self._reserve = Reserve(config.path, self.capacity.reserve)
        self.receipts = receipts
        self._put: dict[str, bytes] = {}
        self._delete: list[str] = []
        self._quarantine: list[Header] = []
        self._discard: list[Header] = []
        self._reuse: list[int] = []
        self._dead_letters_wait = False
        self._release = 0
        self._appends_failed = False
        self._stuck = False
        self._tried = float("-inf")
        self._full = ""
        self._complained = float("-inf")
        self._trouble = Trouble()
        if self._short() or self.capacity.exhausted:
            # said at the start, and not when the first message comes
            self._trouble.begins("full", "the disk is full")
        self.evict: Callable[[int], None] | None = None
        """Called when the oldest messages have to make room for so many bytes."""
        self.recover: Callable[[BaseException], None] = lambda _: None
        """Called when the database turns out to be damaged."""
        self.mark: Callable[[], None] = lambda: None
        """Called when there is something to write."""

    @property
    def state(self) -> tuple[SpoolState, str]:
        """How the spool is, and why."""
        trouble = self._trouble
        full = trouble.now is not None and trouble.now[0] == "full"
        # without a message nothing else would find out that there is room again
        if full and not (self._stuck or self._appends_failed or self._short() or self.capacity.exhausted):
            trouble.ends()
        if trouble.now is not None:
            return trouble.now
        return ("full", self._full) if self._full else ("ok", "")

    def put(self, name: str, value: bytes | None) -> None:
        """Store a small value with the next transaction, or delete it."""
        if value is None:
            self._put.pop(name, None)
            self._delete.append(name)
        else:
            self._put[name] = seal(value)
        self.mark()

    def put_everything(self) -> None:
        """The database is going to be replaced: write down all that is known here."""
        for ledger in self._ledgers:
            ledger.changed = True
            for number, batch in ledger.batches.items():
                self.put(f"batch/{number}/{ledger.name}", batch.encode())

    def reopened(self, opened: Opened) -> None:
        """The database has been replaced."""
        usage = self.usage
        usage.first, usage.messages, usage.retained = opened.first, opened.messages, opened.retained
        usage.used, usage.free = opened.used, opened.free
        self._dead_letters.by_sink, self._dead_letters.bytes = opened.dead_letters
        for ledger in self._ledgers:
            self._dead_letters.reconcile(ledger)
        self.mark()

    def look_at_everything(self, high: int) -> None:
        """Trim whatever below `high` no sink has pending."""
        unwanted = Position([(1, high)])
        for ledger in self._ledgers:
            for start, end in ledger.position:
                unwanted.remove(start, end)
        # beside what a sink has just settled: another may have that in its position and not want it
        for start, end in unwanted:
            self._ledgers.settled.add(start, end)
        self.mark()

    def quarantine(self, header: Header) -> None:
        """Move a damaged chunk out of the log with the next transaction."""
        self._quarantine.append(header)
        self.mark()

    def discard(self, header: Header) -> None:
        """Delete a chunk with the next transaction, though a sink may want it."""
        self._discard.append(header)
        self.mark()

    def reuse(self, first: int) -> None:
        """Keep a chunk no longer only for replay: messages in it are pending again."""
        self._reuse.append(first)
        self.mark()

    # -- what `Commits` asks ----------------------------------------------------------------------------------------------------

    def admit(self, waiting: deque[Append]) -> list[Append]:
        """Take off the deliveries that there is room for, in order."""
        appends: list[Append] = []
        size = 0
        while waiting and (not appends or size + waiting[0].size <= self._most):
            append = waiting[0]
            if append.stored.done():
                waiting.popleft()
                continue
            need = size + append.size + MESSAGE_OVERHEAD * len(append.delivery.messages)
            # a delivery that is larger than the whole spool must still get through an empty one
            full = self.capacity.why_full(need) if self.usage.messages else ""
            if self._stuck or not (self._reserve.held or self.capacity.after_full(need)):
                full = full or "the disk is full"
                if not appends:
                    self._disk_full()
                    self._try_to_fold_in()
            if full and (appends or self._stuck or not self._make_room(append, need, full)):
                break
            waiting.popleft()
            if full:
                continue
            if append.routing != self._ledgers.routing:
                self._ledgers.recount(append)
            appends.append(append)
            size = need
        if appends:
            self._full = ""
        return appends

    def prepare(self, appends: list[Append]) -> Transaction:
        """Everything that is to be written just now."""
        transaction = Transaction(chunks=group(appends, self._ledgers.matchers))
        transaction.receipts = self.receipts.spans(self.usage.end, appends)
        changes: dict[int, Change] = {}
        first = self.usage.end
        for chunk in transaction.chunks:
            end = first + len(chunk.messages)
            for key, count in chunk.wanted.items():
                change = changes.setdefault(key, Change())
                change.pending += count
                if chunk.only:
                    change.dead_lettered -= count
                    change.added.append((first, end))
                else:
                    change.matched += count
            first = end
        if not self._dead_letters_wait:
            transaction.dead_letters = self._dead_letters.prepare(changes)
        transaction.put, self._put = self._put, {}
        transaction.delete, self._delete = self._delete, []
        transaction.quarantine, self._quarantine = self._quarantine, []
        transaction.discard, self._discard = self._discard, []
        transaction.reuse, self._reuse = self._reuse, []
        transaction.release, self._release = self._release, 0
        transaction.thrown_away = self._dead_letters.remove()
        transaction.replayed = [place for append in appends for place in append.dead_letters]
        for ledger in self._ledgers:
            for number in ledger.kept():
                transaction.delete.append(f"batch/{number}/{ledger.name}")
            change_of = changes.get(ledger.key)
            if change_of is not None or ledger.changed:
                transaction.put[f"sink/{ledger.name}"] = ledger_record.encode(ledger, change_of or Change(), first)
                ledger.changed = False
        transaction.trims = due(self._ledgers, self.receipts.spans())
        return transaction

    def write(self, transaction: Transaction) -> Written:
        """Write it; called in the database thread."""
        return self._store.write(transaction)

    def committed(self, transaction: Transaction, appends: list[Append], written: Written) -> None:
        """It is on disk: count it, let readers have it, acknowledge."""
        self.usage.update(written)
        first = self.usage.end
        for append in appends:
            self.receipts.stored(append, first)
            first += len(append.delivery.messages)
        for chunk in written.chunks:
            self.recent.add(chunk)
            self.usage.end = chunk.end
            self._ledgers.stored(chunk)
        for start, end in written.leftover:
            self._ledgers.settled.add(start, end)
        if written.held:
            for trim in transaction.trims:
                self._ledgers.settled.add(trim.start, trim.end)
        if written.stuck:
            self._disk_full()
        if self._trouble.now is not None and not written.stuck and (appends or not self._appends_failed) and not self._short():
            self._trouble.ends()
        self._appends_failed = self._appends_failed and not appends
        if self._dead_letters.committed(transaction.dead_letters) or written.leftover or self._dead_letters_wait:
            self._dead_letters_wait = False
            self.mark()
        self._dead_letters.removed(transaction.replayed + transaction.thrown_away)
        for append in appends:
            _acknowledge(append)
        self._stuck = written.stuck
        self._reserve.hold(self.capacity.free_bytes)

    def failed(self, transaction: Transaction, appends: list[Append], error: BaseException) -> SpoolError:
        """Nothing of it is on disk: all of it is to be written again."""
        for trim in transaction.trims:
            self._ledgers.settled.add(trim.start, trim.end)
        for ledger in self._ledgers:
            if f"sink/{ledger.name}" in transaction.put:
                ledger.changed = True
        self._put = {name: value for name, value in transaction.put.items() if not name.startswith("sink/")} | self._put
        self._delete = transaction.delete + self._delete
        self._quarantine = transaction.quarantine + self._quarantine
        self._discard = transaction.discard + self._discard
        self._reuse = transaction.reuse + self._reuse
        self._dead_letters.failed(transaction.dead_letters)
        self._dead_letters.not_removed(transaction.thrown_away)
        self._appends_failed = self._appends_failed or bool(appends)
        # if even the letters have no room, what is only settled goes first
        self._dead_letters_wait = bool(transaction.dead_letters) and not appends
        if not isinstance(error, (apsw.Error, OSError, *DAMAGE)):
            # not the disk: these messages cannot be stored, now or later
            log.error("deliveries cannot be stored", reason=f"{type(error).__name__}: {error}", exc_info=error)
            for append in appends:
                if not append.stored.done():
                    append.stored.set_exception(error)
            return SpoolError(f"{type(error).__name__}: {error}")
        return self.cannot_write(error)

    def cannot_write(self, error: BaseException) -> SpoolError:
        """Something could not be written: that is the state of the spool until something can be."""
        if isinstance(error, DAMAGE):
            self.recover(error)
        explained = explain(error)
        state: SpoolState = "failing"
        if isinstance(explained, SpoolFull):
            self._disk_full()
            return explained
        if isinstance(explained, SpoolReadOnly):
            state = "read_only"
        self._trouble.begins(state, str(explained))
        return explained

    def _disk_full(self) -> None:
        self._trouble.begins("full", "the disk is full")
        self._reserve.give_up()

    def _short(self) -> bool:
        """Whether deliveries could not be tried again just now."""
        return not self._reserve.held and not self.capacity.after_full(0)

    def _try_to_fold_in(self) -> None:
        """Have an empty transaction now and then, so that the log is folded in as soon as the disk has room."""
        now = time.monotonic()
        if self._stuck and now - self._tried > _FOLD_IN_EVERY:
            self._tried = now
            self.mark()

    # -- making room ------------------------------------------------------------------------------------------------------------

    def _make_room(self, append: Append, need: int, full: str) -> bool:
        """Do what `on_full` says; True when the delivery is dealt with."""
        if self.usage.retained:
            # some more than asked for, so that it is not needed again at once
            self._release = need + self._config.max_bytes // 32
            self.mark()
            return False
        for sink in self._ledgers.orphans:
            ledger = self._ledgers.forget(sink)
            log.warning(
                "spool needs room: a sink that is no longer configured loses its messages", sink=sink, pending=ledger.pending
            )
            if ledger.pending:
                self._ledgers.count_drops(sink, Counter({"": ledger.pending}), "spool_full")
            self.put(f"sink/{sink}", None)
        if self._ledgers.settled:
            if self.receipts.hold_all(self._ledgers.settled):
                # a repeat is better than a router that waits
                self.receipts.give_up()
            self.mark()
            return False
        policy = self._config.on_full
        now = time.monotonic()
        if not self._full and now - self._complained > COMPLAIN_EVERY:
            self._complained = now
            log.warning("spool is full", reason=full, on_full=policy)
        self._full = full
        if policy == "drop_newest":
            self._drop(append)
            return True
        if policy == "drop_oldest" and self.evict is not None:
            self.evict(need)
        return False

    def _drop(self, append: Append) -> None:
        if append.routing != self._ledgers.routing:
            self._ledgers.recount(append)
        self._ledgers.reject(append, "spool_full")
        self.mark()
        _acknowledge(append)


def _acknowledge(append: Append) -> None:
    try:
        append.delivery.acknowledge()
    except Exception:
        # the source's mistake must not keep the deliveries behind it from being acknowledged
        log.exception("a source failed to acknowledge", source=append.source)
    if not append.stored.done():
        append.stored.set_result(None)
