"""Bringing over what is readable of a damaged database, a little at a time while the router works."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
import structlog

from edgerouter.spool.account import seal, unseal
from edgerouter.spool.chunk import MAX_MESSAGES, Codec, Damaged, Header
from edgerouter.spool.sqlite_file import PAGE

STATE: Final = "salvage"
"""Name of the value that says how far a salvage has come."""
_STEP_ROWS: Final = 2000
_STEP_BYTES: Final = 4 * 1024 * 1024
_END: Final = 1 << 62
_UNKNOWN: Final = 1 << 40
"""Above all sequences that any spool has come to, for when the highest one cannot be read."""
_UNREADABLE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError, apsw.IOError, apsw.SQLError)

log = structlog.get_logger("edgerouter.spool")


class _Record(msgspec.Struct, array_like=True):
    file: str
    at: int
    high: int


@dataclass(slots=True)
class Progress:
    """What one step brought."""

    at: int
    """Everything below is brought over, or lost."""
    done: bool = False
    messages: int = 0
    damaged: list[Header] = field(default_factory=list)


def move_aside(path: Path, error: BaseException) -> Path:
    """Give the damaged files another name; those of an earlier damage are deleted, so that they do not fill the disk."""
    for old in path.parent.glob(f"{path.name}.damaged-*"):
        old.unlink()
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    log.error("the spool's database is damaged: what is readable of it is kept", reason=str(error), moved_to=aside.name)
    for suffix in ("-wal", ""):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.rename(aside.with_name(aside.name + suffix))
    return aside


def begin(new: apsw.Connection, aside: Path) -> None:
    """Bring over positions, ledgers and dead letters, and note where the messages are."""
    new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with Path(new.filename).open("rb") as file:
        first_page = file.read(PAGE)
    old = _open(aside, first_page)
    if old is None:
        return
    try:
        state = {str(name): value for name, value in _all(old, "SELECT name, value FROM state") if isinstance(value, bytes)}
        letters = _all(old, "SELECT * FROM letters ORDER BY id")
        quarantined = _all(old, "SELECT * FROM quarantine")
        highest = _all(old, "SELECT first, count FROM chunks ORDER BY first DESC LIMIT 1")
        earlier = state.pop(STATE, None)
    finally:
        old.close(True)
    if earlier is not None:
        log.error("the database was damaged again before an earlier damage was mended; some of the older messages are lost")
    record = _Record(aside.name, 1, _UNKNOWN)
    if highest and all(isinstance(number, int) for number in highest[0]):
        record.high = highest[0][0] + max(1, min(highest[0][1], MAX_MESSAGES))
    with new:
        new.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", list(state.items()))
        _insert(new, "letters", 12, letters)
        _insert(new, "quarantine", 10, quarantined)
        new.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (STATE, seal(msgspec.msgpack.encode(record))))
    log.info("positions brought over", values=len(state), dead_letters=len(letters))


def resume(state: bytes | None, folder: Path) -> Salvage | None:
    """The salvage that is under way, if any."""
    if state is None:
        return None
    try:
        record = msgspec.msgpack.decode(unseal(state), type=_Record)
    except ValueError:
        return None
    path = folder / record.file
    connection = _open(path, b"") if path.exists() else None
    return None if connection is None else Salvage(connection, record)


class Salvage:
    """Reads a damaged database row by row, around what cannot be read."""

    def __init__(self, old: apsw.Connection, record: _Record) -> None:
        self._old = old
        self._record = record
        self._codec = Codec()
        self._brought = 0

    @property
    def at(self) -> int:
        """Everything below is brought over."""
        return self._record.at

    @property
    def high(self) -> int:
        """Above any sequence that may be in the damaged database."""
        return self._record.high

    def state(self) -> bytes:
        """How far it has come."""
        return seal(msgspec.msgpack.encode(self._record))

    def step(self, new: apsw.Connection) -> Progress:
        """Bring over some chunks, within a transaction."""
        record = self._record
        rows = self._rows(record.at)
        progress = Progress(record.at)
        passed = 0
        for row in rows:
            header = Header(*row[:9])
            try:
                sound = self._codec.is_sound(header, row[9])
            except Damaged:
                sound = False
            if sound:
                new.execute("INSERT OR IGNORE INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
                progress.messages += new.changes() * header.messages
                passed = header.first
            else:
                count = header.messages if isinstance(header.messages, int) else 1
                progress.damaged.append(header._replace(messages=max(1, min(count, MAX_MESSAGES))))
        if rows:
            # the number of a damaged row may be wrong too: only a sound one says how far we are
            record.at = max(record.at, passed or min(row[0] for row in rows)) + 1
        self._brought += progress.messages
        progress.at = record.at
        if not rows or record.at >= record.high:
            progress.at = record.high
            progress.done = True
            log.info("salvage is finished", messages=self._brought, file=record.file)
        return progress

    def close(self) -> None:
        """Let go of the damaged database."""
        self._old.close(True)

    def _rows(self, at: int) -> list[tuple[Any, ...]]:
        """The next readable rows from a sequence on."""
        rows = self._try(at)
        if rows is not None:
            return rows
        # jump over what cannot be read in ever longer steps, then find its end by halving
        unreadable, step = at, 1
        while rows is None and step < _END:
            readable = at + step
            rows = self._try(readable)
            if rows is None:
                unreadable, step = readable, step * 2
        while rows is not None and readable - unreadable > 1:
            middle = (readable + unreadable) // 2
            found = self._try(middle)
            if found is None:
                unreadable = middle
            else:
                readable, rows = middle, found
        return rows or []

    def _try(self, at: int) -> list[tuple[Any, ...]] | None:
        """Rows from a sequence on, as far as they can be read; `None` if not even the first can."""
        rows: list[tuple[Any, ...]] = []
        size = 0
        try:
            for row in self._old.execute("SELECT * FROM chunks WHERE first >= ? ORDER BY first LIMIT ?", (at, _STEP_ROWS)):
                rows.append(row)
                size += len(row[9]) if isinstance(row[9], bytes) else 0
                if size > _STEP_BYTES:
                    break
        except _UNREADABLE:
            return rows or None
        return rows


def _open(path: Path, first_page: bytes) -> apsw.Connection | None:
    """Open a damaged database.

    If its first page is the damage, it is given that of a new one, which has the same tables in the same places.
    """
    for attempt in range(2):
        try:
            connection = apsw.Connection(str(path))
        except apsw.Error:
            return None
        try:
            connection.pragma("locking_mode", "exclusive")
            connection.pragma("wal_autocheckpoint", 0)
            connection.execute("SELECT first FROM chunks LIMIT 0").fetchall()
        except _UNREADABLE:
            connection.close(True)
            if attempt or not first_page:
                return None
            _graft(path, first_page)
        else:
            return connection
    return None


def _graft(path: Path, first_page: bytes) -> None:
    pages = path.stat().st_size // PAGE
    page = bytearray(first_page)
    page[28:32] = pages.to_bytes(4, "big")  # size of the database
    page[32:40] = bytes(8)  # no free pages
    page[92:96] = page[24:28]  # the size is valid
    with path.open("r+b") as file:
        file.write(page)
    log.warning("the first page of the database is replaced", file=path.name)


def _all(old: apsw.Connection, statement: str) -> Sequence[tuple[Any, ...]]:
    """All rows, as far as they can be read."""
    rows: list[tuple[Any, ...]] = []
    try:
        rows.extend(old.execute(statement))
    except _UNREADABLE as error:
        log.warning("a part of the database cannot be read", reason=str(error))
    return rows


def _insert(new: apsw.Connection, table: str, columns: int, rows: Sequence[tuple[Any, ...]]) -> None:
    places = ", ".join("?" * columns)
    for row in rows:
        try:
            new.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", row)  # noqa: S608  (named above)
        except apsw.ConstraintError:
            continue  # a damaged row
