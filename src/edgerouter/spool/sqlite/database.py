"""The open database, in its thread: open it, bring its journal in, replace it when it is damaged, close it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Concatenate, ParamSpec, TypeVar

import apsw
import msgspec
import structlog

from edgerouter.config.model import SpoolConfig
from edgerouter.errors import SpoolFull, SpoolUnusable
from edgerouter.message import Message
from edgerouter.spool.log.chunk import Codec, new_id
from edgerouter.spool.log.ledger import seal
from edgerouter.spool.sqlite.capacity import free_bytes, give_up_reserve, wal_pages
from edgerouter.spool.sqlite.db import dead_letter_rows
from edgerouter.spool.sqlite.db.checkpoint import Checkpoint
from edgerouter.spool.sqlite.db.compaction import Packer
from edgerouter.spool.sqlite.db.errors import DAMAGE, explain
from edgerouter.spool.sqlite.db.rows import Rows
from edgerouter.spool.sqlite.db.schema import FILE, PAGE, RUNNING, connect, refuse_foreign
from edgerouter.spool.sqlite.db.transaction import Opened, SpoolRecord
from edgerouter.spool.sqlite.db.trim import Trimmer
from edgerouter.spool.sqlite.high_water import HighWaterMark
from edgerouter.spool.sqlite.journal import Journal
from edgerouter.spool.sqlite.journaled import catch_up
from edgerouter.spool.sqlite.machine import is_copy, remember
from edgerouter.spool.sqlite.recovery import salvage
from edgerouter.spool.sqlite.recovery.identity import compare_with_high_water, lost_in_log, read_record
from edgerouter.spool.sqlite.recovery.wal import was_lost

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger("edgerouter.spool")


class Database:
    """The database file of one spool with all that belongs to a connection, and the journal in front of it."""

    connection: apsw.Connection
    folded: Rows
    """The chunks in the database, without those that are in the journal only."""
    trimmer: Trimmer
    packer: Packer

    def __init__(self, config: SpoolConfig) -> None:
        self._config = config
        self._path = config.path / FILE
        self.codec = Codec()
        self.record = SpoolRecord("")
        self.salvage: salvage.Salvage | None = None
        self._high_water = HighWaterMark(config.path)
        self._connected = False
        self._wal_pages = wal_pages(config)
        self._journal = Journal(config.path, self._wal_pages * PAGE // 2, sync=config.synchronous == "full")
        self._first = 1
        self._usage = (0, 0)

    def open(self) -> Opened:
        """Open the database, or make it; a damaged one is moved aside and what is readable of it is brought over.

        Raises:
            SpoolUnusable: it cannot be used, and that is not for damage.
        """
        try:
            try:
                return self._open()
            except (apsw.Error, OSError) as error:
                # the reserve serves the start, too
                if not isinstance(explain(error), SpoolFull):
                    raise
                room = give_up_reserve(self._config.path)
                if not self._journal.give_room() and not room:
                    raise
            self._disconnect()
            return self._open()
        except (apsw.Error, OSError) as error:
            self._disconnect()
            raise SpoolUnusable(f"spool.path: {self._path}: {explain(error)}") from error

    def _open(self) -> Opened:
        salvage.finish_moving(self._path)
        refuse_foreign(self._path)
        lost = was_lost(self._path)
        try:
            lost = lost or lost_in_log(self._path, self._high_water.read())
            self._connect()
            aside = salvage.left_behind(self._path)
            if aside is not None and not self.connection.execute("SELECT count(*) FROM state").get:
                salvage.begin(self.connection, aside)
            opened = self._read(lost)
        except DAMAGE as error:
            opened = self._replace(error, lost)
        self._journal.begin(free_bytes(self._config.path))
        return opened

    def recover(self, error: BaseException) -> Opened:
        """The database turned out to be damaged while it was in use."""
        record = self.record
        opened = self._replace(error, lost=False)
        # what is known here is newer than what was read from a damaged file
        self.record = msgspec.structs.replace(record, messages=self.record.messages)
        return opened

    def _disconnect(self) -> None:
        if self._connected:
            self._connected = False
            self.connection.close(True)

    def _replace(self, error: BaseException, lost: bool) -> Opened:
        self._disconnect()
        aside = salvage.move_aside(self._path, error)
        # what is brought over needs room at once, and settles what is in the way of more
        give_up_reserve(self._path.parent)
        self._connect()
        salvage.begin(self.connection, aside)
        return self._read(lost)

    def _connect(self) -> None:
        self.connection = connect(self._path, synchronous=self._config.synchronous, wal_pages=self._wal_pages)
        self._connected = True
        self._checkpoint = Checkpoint(self.connection, self._wal_pages)

    def _read(self, lost: bool) -> Opened:
        connection = self.connection
        caught_up = catch_up(connection, self._journal.read(), salvage=salvage.is_under_way(connection))
        self.folded = Rows(connection, self.codec, lambda: self.record.next)
        self.packer = Packer(connection, self.folded, self.codec)
        self.trimmer = Trimmer(connection, self.folded, self.codec, self._config.retain)
        found: Iterable[tuple[object, object]] = connection.execute("SELECT name, value FROM state")
        state = {str(name): value for name, value in found if isinstance(value, bytes)}
        known = state.pop("spool", None)
        begun = state.pop(salvage.STATE, None)
        self.salvage = salvage.resume(begun, self._path.parent)
        self.record, forgotten = read_record(connection, known, 1 if self.salvage is None else self.salvage.high)
        if self.salvage is not None or caught_up is not None:
            # the record may speak of the damaged database, or of a commit that is missing
            self.record.messages = connection.execute("SELECT coalesce(sum(count), 0) FROM chunks").get
        before = state.pop(RUNNING, None)
        # what is not synchronised may be gone without a trace
        lost = before is not None and (lost or before == b"normal")
        copied = is_copy(self._config.path)
        missing = compare_with_high_water(connection, self.record, self._high_water.read(), made_up=forgotten, lost=lost)
        holes = () if caught_up is None else caught_up.holes
        for start, end in holes:
            log.error("commits are missing before the journal, or from it", first=start, messages=end - start)
        forgotten = forgotten or (caught_up is not None and caught_up.unknown and bool(holes))
        if copied:
            before_copy, self.record.id = self.record.id, new_id()
            log.warning(
                "a copy of a spool gets a new id, and a new session at the broker",
                before=before_copy,
                id=self.record.id,
            )
        self._high_water.write(self.record.id, self.record.next)
        with suppress(apsw.FullError):  # a spool starts on a full disk, too: sinks make room
            if copied:
                connection.execute("INSERT OR REPLACE INTO state VALUES ('spool', ?)", (seal(msgspec.msgpack.encode(self.record)),))
            # only now: until the new id is stored, the next start must notice the copy again
            remember(self._config.path)
            connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (RUNNING, self._config.synchronous.encode()))
            # into the database itself, because it shows whether the log is missing
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self._first, self._usage = self.folded.first(self.record.next), self.usage()
        return Opened(
            state,
            *self._usage,
            self._first,
            self.record.next,
            self.record.messages,
            self.trimmer.retained,
            dead_letter_rows.usage(connection),
            connection.execute("SELECT count(*), coalesce(sum(count), 0) FROM quarantine").get,
            self._unacknowledged(),
            None if self.salvage is None else (self.salvage.at, self.salvage.high),
            missing,
            bool(holes),
            forgotten and self.record.next > 1,
        )

    def _unacknowledged(self) -> list[tuple[str, list[Message], bytes]]:
        record = self.record
        if record.receipts is None:
            return self.folded.with_receipts(record.acknowledged, record.next)
        return [
            found
            for source, (first, end) in record.receipts.items()
            for found in self.folded.with_receipts(first, end)
            if found[0] == source and found[1] and first <= found[1][0].sequence
        ]

    def close(self) -> None:
        """Close the database in good order; its log is folded in and removed."""
        self._high_water.close()
        if self.salvage is not None:
            self.salvage.close()
        try:
            self.connection.execute("DELETE FROM state WHERE name = ?", (RUNNING,))
        except apsw.Error as error:
            # the next start finds it as after a crash
            log.warning("spool is not closed in good order", reason=str(error))
        self.connection.close()

    def read(self, call: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call with the connection as it is by then."""
        return call(self.connection, *args, **kwargs)

    def usage(self) -> tuple[int, int]:
        """Bytes of the database in use, and free for reuse."""
        free: int = self.connection.execute("PRAGMA freelist_count").get
        return (self.connection.execute("PRAGMA page_count").get - free) * PAGE, free * PAGE
