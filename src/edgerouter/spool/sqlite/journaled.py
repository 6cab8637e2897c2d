"""Commits that are in the journal and not in the database yet: kept in memory until they are folded in, or nothing needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import apsw
import msgspec

from edgerouter.spool.log.chunk import Codec, Damaged, Header, count_wanted
from edgerouter.spool.log.storage import Loaded
from edgerouter.spool.sqlite.db import values
from edgerouter.spool.sqlite.db.rows import INSERT, INSERT_NEW, LOAD_BYTES, LOAD_MESSAGES, MISSING
from edgerouter.spool.sqlite.db.transaction import SpoolRecord
from edgerouter.spool.sqlite.journal import Entry, Row


class Journaled:
    """The newest commits.

    Most chunks never come into the database: every sink has settled them when they are folded in.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.put: dict[str, bytes] = {}
        self.delete: set[str] = set()
        self.bytes = 0
        """Of the chunks."""

    def __bool__(self) -> bool:
        return bool(self.rows or self.put or self.delete)

    def add(self, entry: Entry) -> None:
        """Add a commit that is in the journal."""
        self.rows += entry.rows
        self.bytes += sum([len(payload) for _, payload in entry.rows])
        for name in entry.delete:
            self.put.pop(name, None)
            self.delete.add(name)
        self.put.update(entry.put)
        self.delete.difference_update(entry.put)

    def clear(self) -> None:
        """Forget everything: it is in the database."""
        self.rows, self.put, self.delete, self.bytes = [], {}, set(), 0

    def fold(self, connection: apsw.Connection, unneeded: Callable[[Header], bool], added: Callable[[Header], None]) -> int:
        """Write everything into the database, within a transaction; returns the number of messages that nothing needs any more.

        Args:
            connection: to the database.
            unneeded: returns True for a chunk that is not written.
            added: called for each chunk that is.
        """
        dropped = 0
        for header, payload in self.rows:
            if unneeded(header):
                dropped += header.messages
            else:
                connection.execute(INSERT, (*header, payload))
                added(header)
        values.write(connection, self.put, self.delete)
        return dropped

    @property
    def first(self) -> int | None:
        """Lowest sequence; `None` when there is none."""
        return self.rows[0][0].first if self.rows else None

    def load(self, ranges: Sequence[tuple[int, int]], key: int, since: int, codec: Codec) -> tuple[Loaded, list[Header]]:
        """Return the first chunks of sorted ranges of which the sink may want something, as `Rows.load` does."""
        loaded = Loaded(upto=ranges[0][0])
        messages = size = 0
        damaged: list[Header] = []
        for header, payload in self.rows:
            end = header.first + header.messages
            if not any(start < end and header.first < after for start, after in ranges):
                continue
            if messages >= LOAD_MESSAGES or size >= LOAD_BYTES:
                return loaded, damaged
            loaded.upto = end
            try:
                if count_wanted(header.first, codec.wanted(header), header.only, key, since) != 0:
                    loaded.chunks.append(codec.open(header, payload))
                    messages += header.messages
                    size += header.raw
            except Damaged:
                damaged.append(header)
        loaded.upto = ranges[-1][1]
        return loaded, damaged


class CaughtUp(msgspec.Struct, frozen=True):
    """Result of bringing a journal into its database at the start."""

    unknown: bool
    """The database knew nothing about the spool."""
    holes: Sequence[tuple[int, int]]
    """Sequences of commits that are in neither."""


def catch_up(connection: apsw.Connection, entries: Iterable[Entry], *, salvage: bool) -> CaughtUp | None:
    """Bring the commits of an earlier run into the database; returns `None` when all of them were there.

    Args:
        connection: to the database.
        entries: of the journal, in the order of their numbers.
        salvage: older messages may still be brought over from a damaged database.
    """
    known = values.record_in(connection.execute("SELECT value FROM state WHERE name = 'spool'").get)
    # without a record everything that the journal has is newer
    record = known or SpoolRecord("")
    new = [entry for entry in entries if entry.number > record.commits and record.id in ("", entry.spool)]
    if not new:
        return None
    holes: list[tuple[int, int]] = []
    end = new[0].rows[0][0].first if known is None and salvage and new[0].rows else record.next
    with connection:
        for entry in new:
            for header, payload in entry.rows:
                if header.first > end:
                    holes.append((end, header.first))
                connection.execute(INSERT_NEW, (*header, payload))
                end = max(end, header.first + header.messages)
            values.write(connection, entry.put, entry.delete)
        connection.executemany(MISSING, [(start, after - start) for start, after in holes])
    return CaughtUp(known is None, holes)
