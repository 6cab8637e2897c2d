"""Dead letters on their way into the database and out of it, with the ledgers that they belong to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from edgerouter.spool.contract import Rejection
from edgerouter.spool.log.change import Change
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.sqlite.db import dead_letter_rows
from edgerouter.spool.sqlite.db.dead_letter_rows import Place, Row
from edgerouter.spool.sqlite.store import Store
from edgerouter.spool.sqlite.thread import DatabaseThread

log = structlog.get_logger("edgerouter.spool")


@dataclass(slots=True, eq=False, frozen=True)
class NewDeadLetters:
    """Dead letters of one sink that are to be stored."""

    ledger: SinkLedger
    ranges: list[tuple[int, int]]
    """Sequences that they settle."""
    rows: list[Row]
    size: int
    stored: asyncio.Future[None]


class DeadLetters:
    """Dead letters count as dead-lettered, and their messages as settled, with the transaction that stores them."""

    def __init__(
        self,
        store: Store,
        thread: DatabaseThread,
        ledgers: Ledgers,
        usage: tuple[Counter[str], int],
        *,
        quota: int,
        touch: Callable[[], None],
    ) -> None:
        self._store = store
        self._thread = thread
        self._ledgers = ledgers
        self._quota = quota
        self._touch = touch
        self._waiting: list[NewDeadLetters] = []
        self._leaving: dict[int, int] = {}
        """Dead letters that are claimed, and their bytes."""
        self._leaving_bytes = 0
        self._removed: list[Place] = []
        self._dropping = False
        self._postponed = False
        self.by_sink, self.bytes = usage

    def add(self, ledger: SinkLedger, ranges: list[tuple[int, int]], rejections: Sequence[Rejection]) -> asyncio.Future[None]:
        """Store dead letters; the future is done when they are safe."""
        for start, end in ranges:
            ledger.leaving.add(start, end)
        ledger.leaving_messages += len(rejections)
        rows = dead_letter_rows.rows_of(ledger.name, rejections)
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append(NewDeadLetters(ledger, ranges, rows, sum(dead_letter_rows.size_of(row) for row in rows), stored))
        return stored

    @property
    def count(self) -> int:
        """Number of stored dead letters."""
        return self.by_sink.total()

    def reconcile(self, ledger: SinkLedger) -> None:
        """Count again what a ledger has in dead letters: after damage, dead letters or the ledger may be lost."""
        missing = ledger.dead_lettered - self.by_sink[ledger.name] + sum(1 for place in self._removed if place[1] == ledger.name)
        if missing:
            log.warning("ledger corrected: dead letters are not those that it counts", sink=ledger.name, missing=missing)
            ledger.dead_lettered -= missing
            ledger.changed = True
        if missing > 0:
            ledger.dropped += missing
            self._ledgers.drops.count(ledger.name, Counter({"": missing}), "damaged")
        else:
            ledger.matched -= missing

    def reopened(self, usage: tuple[Counter[str], int]) -> None:
        """Count again after the database was replaced."""
        self.by_sink, self.bytes = usage
        for ledger in self._ledgers:
            self.reconcile(ledger)

    def prepare(self, changes: dict[int, Change]) -> list[NewDeadLetters]:
        """Return the dead letters for a transaction; note in `changes` what they change."""
        if self._postponed:
            return []
        waiting, self._waiting = self._waiting, []
        for letters in waiting:
            change = changes.setdefault(letters.ledger.key, Change())
            change.dead_lettered += len(letters.rows)
            change.pending -= len(letters.rows)
            change.settled += letters.ranges
        return waiting

    def committed(self, waiting: Iterable[NewDeadLetters]) -> bool:
        """They are stored; True when there is more to write, since that settled something or others were postponed."""
        more, self._postponed = self._postponed, False
        for letters in waiting:
            letters.ledger.dead_lettered += len(letters.rows)
            letters.ledger.settle(letters.ranges, len(letters.rows))
            letters.ledger.leaving_messages -= len(letters.rows)
            for start, end in letters.ranges:
                letters.ledger.leaving.remove(start, end)
                self._ledgers.settled.add(start, end)
            self.by_sink[letters.ledger.name] += len(letters.rows)
            self.bytes += letters.size
            if not letters.stored.done():
                letters.stored.set_result(None)
            more = True
        # what is claimed may be gone by the time of the reading, and then as much more would be found
        excess = self.bytes - self._leaving_bytes - self._quota
        if excess > 0 and not self._dropping:
            self._dropping = True
            self._thread.submit(partial(self._store.read, dead_letter_rows.oldest, excess), self._drop_oldest)
        return more

    def failed(self, waiting: list[NewDeadLetters], *, appends: bool) -> None:
        """They are not stored. If even dead letters alone have no room, what is only settled goes first."""
        self._waiting = waiting + self._waiting
        self._postponed = bool(waiting) and not appends

    def remove(self) -> list[Place]:
        """Return the dead letters that a transaction deletes."""
        removed, self._removed = self._removed, []
        return removed

    def removed(self, places: Sequence[Place]) -> None:
        """They are deleted."""
        if not places:
            return
        self.stay(places)
        self.by_sink.subtract(place[1] for place in places)
        self.bytes -= sum(place[3] for place in places)

    def not_removed(self, places: Sequence[Place]) -> None:
        """They are not deleted."""
        self._removed = [*places, *self._removed]

    def leave(self, places: Iterable[Place]) -> list[Place]:
        """Claim dead letters that are going to be replayed or thrown away; those already claimed are left out."""
        mine = [place for place in places if place[0] not in self._leaving]
        self._leaving.update((place[0], place[3]) for place in mine)
        self._leaving_bytes += sum(place[3] for place in mine)
        return mine

    def stay(self, places: Iterable[Place]) -> None:
        """Give up the claim."""
        for place in places:
            self._leaving_bytes -= self._leaving.pop(place[0], 0)

    def throw_away(self, places: Sequence[Place], reason: str) -> None:
        """Delete claimed dead letters; they count as dropped from now on."""
        sinks = Counter(place[1] for place in places)
        for sink, count in sinks.items():
            if sink in self._ledgers:
                ledger = self._ledgers[sink]
                ledger.dead_lettered -= count
                ledger.dropped += count
                ledger.changed = True
            self._ledgers.drops.count(sink, Counter(place[2] for place in places if place[1] == sink), reason)
        self._removed += places
        self._touch()

    def _drop_oldest(self, places: list[Place] | None, error: BaseException | None) -> None:
        self._dropping = False
        if places is None:
            log.error("dead letters cannot be read", reason=str(error))
            return
        places = self.leave(places)
        if places:
            log.warning("dead letters exceed their quota, the oldest are dropped", letters=len(places))
            self.throw_away(places, "dead_letters_full")
