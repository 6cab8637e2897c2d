"""Bringing over what is readable of a damaged database, a little at a time while the router works."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw
import msgspec
import structlog

from edgerouter.spool.log.chunk import MAX_MESSAGES, Header
from edgerouter.spool.log.ledger import seal, unseal
from edgerouter.spool.sqlite.db import values
from edgerouter.spool.sqlite.db.errors import DAMAGE
from edgerouter.spool.sqlite.db.rows import INSERT_NEW
from edgerouter.spool.sqlite.db.schema import PAGE
from edgerouter.spool.sqlite.recovery.pages import RawChunks, Row

STATE: Final = "salvage"
"""Name of the value that says how far a salvage has come."""
STEP_ROWS: Final = 2000
_STEP_BYTES: Final = 4 * 1024 * 1024
_STEP_PAGES: Final = 4096
_UNKNOWN: Final = 1 << 40
"""Above all sequences that any spool has come to, for when the highest one cannot be read."""
_DAMAGED: Final = "damaged-"
_SALVAGED: Final = "salvaged-"
_UNREADABLE: Final = (*DAMAGE, apsw.IOError, apsw.SQLError)

log = structlog.get_logger("edgerouter.spool")


class _Record(msgspec.Struct, array_like=True):
    file: str
    at: int
    high: int


class Progress(msgspec.Struct):
    """Result of one step."""

    at: int
    """Everything below is brought over, or lost."""
    done: bool = False
    messages: int = 0
    damaged: list[Header] = msgspec.field(default_factory=list)


def move_aside(path: Path, error: BaseException) -> Path:
    """Give the damaged files another name; those of an earlier damage are deleted, so that they do not fill the disk."""
    for old in (*path.parent.glob(f"{path.name}.{_DAMAGED}*"), *path.parent.glob(f"{path.name}.{_SALVAGED}*")):
        old.unlink()
    aside = path.with_name(f"{path.name}.{_DAMAGED}{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    log.error("the spool's database is damaged: what is readable of it is kept", reason=str(error), moved_to=aside.name)
    _rename(path, aside)
    return aside


def finish_moving(path: Path) -> None:
    """Move the rest of a damaged database aside, if the process was killed when only its log had been moved."""
    for moved in path.parent.glob(f"{path.name}.{_DAMAGED}*-wal"):
        aside = moved.with_name(moved.name.removesuffix("-wal"))
        if not aside.exists() and path.exists():
            path.rename(aside)


def left_behind(path: Path) -> Path | None:
    """A damaged database that was moved aside. If the one in its place is empty, a kill came before the salvage."""
    return next((file for file in path.parent.glob(f"{path.name}.{_DAMAGED}*") if not file.name.endswith("-wal")), None)


def _rename(path: Path, to: Path) -> None:
    for suffix in ("-wal", ""):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.rename(to.with_name(to.name + suffix))


def begin(new: apsw.Connection, aside: Path) -> None:
    """Bring over positions, ledgers and dead letters, and note where the messages are."""
    new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with Path(new.filename).open("rb") as file:
        first_page = file.read(PAGE)
    state: dict[str, bytes] = {}
    letters: Sequence[Row] = ()
    quarantined: Sequence[Row] = ()
    record = _Record(aside.name, 1, _UNKNOWN)
    old = _open(aside, first_page)
    if old is not None:
        try:
            state = {str(name): value for name, value in _all(old, "SELECT name, value FROM state") if isinstance(value, bytes)}
            letters = _all(old, "SELECT * FROM letters ORDER BY id")
            quarantined = _all(old, "SELECT * FROM quarantine")
            record.high = _end(state.get("spool"), _all(old, "SELECT first, count FROM chunks ORDER BY first DESC LIMIT 1"))
        finally:
            old.close(True)
    if state.pop(STATE, None) is not None:
        log.error("the database was damaged again before an earlier damage was mended; some of the older messages are lost")
    with new:
        values.write(new, {**state, STATE: seal(msgspec.msgpack.encode(record))})
        _insert(new, "letters", 12, letters)
        _insert(new, "quarantine", 10, quarantined)
    log.info("positions brought over", values=len(state), dead_letters=len(letters))


def _end(known: bytes | None, highest: Sequence[Row]) -> int:
    """Above any sequence that was given out."""
    if (record := values.record_in(known)) is not None:
        return record.next
    if highest and all(isinstance(number, int) for number in highest[0]):
        return int(highest[0][0] + max(1, min(highest[0][1], MAX_MESSAGES)))
    return _UNKNOWN


def is_under_way(connection: apsw.Connection) -> bool:
    """Return True while messages are still to be brought over."""
    return bool(connection.execute("SELECT count(*) FROM state WHERE name = ?", (STATE,)).get)


def resume(state: bytes | None, folder: Path) -> Salvage | None:
    """The salvage that is under way, if any."""
    if state is None:
        return None
    try:
        record = msgspec.msgpack.decode(unseal(state), type=_Record)
    except ValueError:
        return None
    path = folder / record.file
    return Salvage(path, record) if path.exists() else None


class Salvage:
    """Finds what is sound in a damaged database, and copies it in the order of the sequences."""

    def __init__(self, path: Path, record: _Record) -> None:
        self._path = path
        self._raw = RawChunks(path)
        self._record = record
        self._brought = 0
        self._step_bytes = _STEP_BYTES

    @property
    def at(self) -> int:
        """Everything below is brought over."""
        return self._record.at

    @property
    def high(self) -> int:
        """Above any sequence that may be in the damaged database."""
        return self._record.high

    def state(self, progress: Progress) -> bytes:
        """Encode its progress as of the moment when this step is on disk."""
        return seal(msgspec.msgpack.encode(msgspec.structs.replace(self._record, at=progress.at)))

    def committed(self, progress: Progress) -> None:
        """The step is on disk."""
        self._record.at = progress.at
        self._brought += progress.messages
        self._step_bytes = min(_STEP_BYTES, self._step_bytes * 2)
        if progress.done:
            log.info("salvage is finished", messages=self._brought, file=self._record.file)

    def failed(self) -> None:
        """Nothing of the step is on disk. The next one is smaller: on a full disk little by little finds room."""
        self._step_bytes = max(1, self._step_bytes // 4)

    def step(self, new: apsw.Connection) -> Progress:
        """Look at some pages or, once all have been looked at, bring over some chunks, within a transaction."""
        record = self._record
        if not self._raw.scanned:
            self._raw.scan(_STEP_PAGES)
            return Progress(record.at)
        rows = self._some(record.at, record.high)
        progress = Progress(rows[-1][0] + rows[-1][1] if rows else record.high)
        lost = self._raw.damaged(record.at, progress.at)
        for row in rows:
            new.execute(INSERT_NEW, row)
            progress.messages += new.changes() * row[1]
            lost.remove(row[0], row[0] + row[1])
        for start, end in lost:
            if not new.execute("SELECT count(*) FROM quarantine WHERE first = ?", (start,)).get:
                progress.damaged.append(Header(start, end - start, 0, 0, 0, b"", 0, b"", 0))
        progress.done = not rows
        return progress

    def close(self, *, done: bool = False) -> None:
        """Let go of the damaged database.

        Args:
            done: nothing more is to be had of it; its name says so from now on.
        """
        self._raw.close()
        if done:
            with suppress(OSError):
                _rename(self._path, self._path.with_name(self._path.name.replace(_DAMAGED, _SALVAGED)))

    def _some(self, start: int, end: int) -> list[Row]:
        """As many chunks as a step takes."""
        rows: list[Row] = []
        size = 0
        for row in self._raw.rows(start, end):
            rows.append(row)
            size += len(row[9])
            if len(rows) >= STEP_ROWS or size > self._step_bytes:
                break
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
            # what SQLite does not see of a damaged log is looked at later
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
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


def _all(old: apsw.Connection, statement: str) -> Sequence[Row]:
    """All rows, as far as they can be read."""
    rows: list[Row] = []
    try:
        rows.extend(old.execute(statement))
    except _UNREADABLE as error:
        log.warning("a part of the database cannot be read", reason=str(error))
    return rows


def _insert(new: apsw.Connection, table: str, columns: int, rows: Sequence[Row]) -> None:
    places = ", ".join("?" * columns)
    for row in rows:
        try:
            new.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", row)  # noqa: S608  (named above)
        except apsw.ConstraintError:
            continue  # a damaged row
