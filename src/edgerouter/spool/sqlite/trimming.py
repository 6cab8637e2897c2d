"""Trimming as the event loop sees it: which settled sequences the next transaction examines, and what it left over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.position import Position
from edgerouter.spool.log.receipts import Receipts
from edgerouter.spool.sqlite.capacity import Usage
from edgerouter.spool.sqlite.db.transaction import Opened, Transaction, Trim, Written
from edgerouter.spool.sqlite.db.trim import due

_TRIM_AFTER: Final = 1.0
_TRIM_MESSAGES: Final = 20_000


class Trimming:
    """Examines what some sink has settled since the last trim: the chunks that no other sink needs can go.

    Args:
        opened: for the receipts of an earlier run.
        ledgers: of all sinks.
        usage: of the database.
        max_bytes: of the spool.
        touch: asks for a commit.
    """

    def __init__(self, opened: Opened, ledgers: Ledgers, usage: Usage, max_bytes: int, touch: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ledgers = ledgers
        self._usage = usage
        self._plenty = max_bytes // 2
        self._trimmed_at = 0.0
        self._touch = touch
        self._soon = False
        self.receipts = Receipts(opened.unacknowledged, released=self._released)
        """Deliveries whose acknowledgement the sender may not have read: they are kept, whatever the sinks have settled."""

    def due(self, *, appends: bool) -> list[Trim]:
        """Take the sequences that a transaction examines.

        Each deletion writes pages. So while deliveries come one after another, and there is room, it waits until it is worth while.

        Args:
            appends: the transaction stores deliveries.
        """
        settled = self._ledgers.settled
        now = self._loop.time()
        first = settled.first
        if first is None or (
            appends
            and now - self._trimmed_at < _TRIM_AFTER
            and settled.end - first < _TRIM_MESSAGES
            and self._usage.used < self._plenty
            and not self._usage.crowded
        ):
            return []
        self._trimmed_at = now
        return due(self._ledgers, self.receipts.spans())

    def written(self, transaction: Transaction, written: Written) -> None:
        """Keep what the transaction had no time to examine, or was not to."""
        self._again(written.leftover)
        if written.held:
            self.failed(transaction)

    def failed(self, transaction: Transaction) -> None:
        """Examine it another time."""
        self._again((trim.start, trim.end) for trim in transaction.trims)

    def examine_all(self, high: int) -> None:
        """Examine whatever below `high` no sink has pending."""
        unwanted = Position([(1, high)])
        for ledger in self._ledgers:
            for start, end in ledger.position:
                unwanted.remove(start, end)
        # beside what a sink has just settled: another may have that in its position and not want it
        self._again(unwanted)
        self._touch()

    def _again(self, ranges: Iterable[tuple[int, int]]) -> None:
        for start, end in ranges:
            self._ledgers.settled.add(start, end)

    def _released(self) -> None:
        """Trim what was kept for its receipts, with a transaction that comes anyhow if one comes soon."""
        if not self._soon and self._ledgers.settled:
            self._soon = True
            self._loop.call_later(_TRIM_AFTER, self._trim)

    def _trim(self) -> None:
        self._soon = False
        if self._ledgers.settled:
            self._touch()
