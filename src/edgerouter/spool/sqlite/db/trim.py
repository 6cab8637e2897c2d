"""Deleting chunks that no sink needs any more, or keeping them for replay as long as the user wants."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

import apsw

from edgerouter.config.model import RetainPolicy
from edgerouter.spool.log.chunk import MAX_MESSAGES, Codec, Damaged, Header
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.receipts import Span, outside, overlaps
from edgerouter.spool.sqlite.db.rows import Rows
from edgerouter.spool.sqlite.db.transaction import Need, Trim

TRIM_ROWS: Final = 2000
"""Most chunks that one transaction trims, so that none takes long."""
_RANGES: Final = 16


def due(ledgers: Ledgers, spans: Mapping[str, Span]) -> list[Trim]:
    """Return the settled sequences that a transaction examines; called on the event loop.

    Args:
        ledgers: the sinks.
        spans: what is kept for its receipts, and looked at another time.
    """
    settled = ledgers.settled
    trims = []
    parts = (part for start, end in list(settled) for part in outside(spans, start, end))
    for start, end in islice(parts, _RANGES):
        settled.remove(start, end)
        # a chunk may begin before and end behind what was settled
        low, high = start - MAX_MESSAGES, end + MAX_MESSAGES
        needs = [Need(ledger.key, ledger.since, ranges) for ledger in ledgers if (ranges := ledger.position.intersect(low, high))]
        trims.append(Trim(start, end, needs, tuple(spans.values())))
    return trims


class Trimmer:
    """Runs within transactions."""

    def __init__(self, connection: apsw.Connection, rows: Rows, codec: Codec, retain: RetainPolicy) -> None:
        self._connection = connection
        self._chunks = rows
        self._codec = codec
        self._retain = retain
        self.retained: int = connection.execute("SELECT coalesce(sum(bytes), 0) FROM retained").get
        """Bytes of chunks that are kept only for replay."""
        self.deleted = 0
        """Messages deleted since the transaction began."""

    def trim(self, trims: Iterable[Trim]) -> list[tuple[int, int]]:
        """Delete, or put among the retained, what no sink needs; returns what is left to look at."""
        left = TRIM_ROWS
        leftover = []
        for trim in trims:
            if left <= 0:
                leftover.append((trim.start, trim.end))
                continue
            run: list[tuple[int, int]] = []  # chunks that stand beside each other: first sequence, count
            looked = 0
            end = trim.start
            for header in self._chunks.headers(trim.start, trim.end, left):
                looked += 1
                end = header.first + header.messages
                if end <= trim.start:
                    continue  # the row before a hole: it is not known what is needed there
                if self._needed(trim, header):
                    self._let_go(run)
                    run = []
                else:
                    run.append((header.first, header.messages))
            self._let_go(run)
            if looked == left and end < trim.end:
                leftover.append((end, trim.end))
            left -= looked
        return leftover

    def unneeded(self, trims: Iterable[Trim], header: Header) -> bool:
        """Return True for a chunk that these would delete."""
        end = header.first + header.messages
        return any(trim.start < end and header.first < trim.end and not self._needed(trim, header) for trim in trims)

    def _needed(self, trim: Trim, header: Header) -> bool:
        end = header.first + header.messages
        if overlaps(trim.kept, header.first, end):
            return True
        if not trim.touches(header.first, end):
            return False
        try:
            wanted = self._codec.wanted(header)
        except Damaged:
            return True  # its reader finds out
        return trim.needed(header.first, end, wanted, header.only)

    def _let_go(self, run: list[tuple[int, int]]) -> None:
        if not run:
            return
        first, last = run[0][0], run[-1][0]
        if self._retain.age or self._retain.bytes:
            added = self._rows(
                "INSERT OR IGNORE INTO retained SELECT first, length(payload) + 64, ? FROM chunks WHERE first BETWEEN ? AND ? "
                "RETURNING bytes",
                (int(time.time()), first, last),
            )
            self.retained += sum(size for (size,) in added)
            return
        self.delete("first BETWEEN ? AND ?", (first, last))

    def use_again(self, first: int) -> None:
        """A chunk is wanted again: it is not kept only for replay any more."""
        rows = self._rows("DELETE FROM retained WHERE first = ? RETURNING bytes", (first,))
        self.retained -= sum(size for (size,) in rows)

    def discard(self, header: Header) -> None:
        """Delete this very chunk."""
        self.delete("first = ? AND checksum IS ?", (header.first, header.checksum))

    def quarantine(self, header: Header) -> None:
        """Move this very chunk to where no reader looks."""
        where = "first = ? AND checksum IS ?"
        self._connection.execute(
            f"INSERT OR REPLACE INTO quarantine SELECT * FROM chunks WHERE {where}",  # noqa: S608  (written here)
            (header.first, header.checksum),
        )
        self.discard(header)

    def delete(self, where: str, bindings: tuple[Any, ...]) -> None:
        """Delete chunks within a transaction."""
        deleted = self._rows(f"DELETE FROM chunks WHERE {where} RETURNING count", bindings)  # noqa: S608  (written here)
        self.deleted += sum(count for (count,) in deleted)

    def trim_retained(self, release: int) -> None:
        """Delete what has been retained for long enough, or is too much, or has to make room."""
        oldest = time.time() - self._retain.age
        statement = "SELECT first, bytes, settled FROM retained ORDER BY first LIMIT ?"
        for first, size, settled in self._rows(statement, (TRIM_ROWS,)):
            too_old = self._retain.age and settled < oldest
            too_much = self._retain.bytes and self.retained > self._retain.bytes
            if not too_old and not too_much and release <= 0:
                return
            release -= size
            self.delete("first = ?", (first,))
            self._connection.execute("DELETE FROM retained WHERE first = ?", (first,))
            self.retained -= size

    def _rows(self, statement: str, bindings: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, bindings).fetchall()
