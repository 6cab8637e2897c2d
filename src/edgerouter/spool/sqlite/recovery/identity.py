"""Identity and end of a spool, from its database, its write-ahead log and its high-water mark."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw
import structlog

from edgerouter.spool.log.chunk import new_id
from edgerouter.spool.sqlite.db import values
from edgerouter.spool.sqlite.db.rows import MISSING
from edgerouter.spool.sqlite.db.transaction import SpoolRecord
from edgerouter.spool.sqlite.high_water import HighWater
from edgerouter.spool.sqlite.recovery.wal import Log

_LEFT_OUT: Final = 1 << 24
"""Numbers that a lost log may have used: more than it can have held."""

log = structlog.get_logger("edgerouter.spool")


def lost_in_log(database: Path, high_water: HighWater | None) -> bool:
    """Return True if commits are lost because the log is damaged; what is readable of it is mended.

    Raises:
        apsw.CorruptError: the log is mended as well as that goes, and the database is not what it should be.
    """
    if not database.exists() or not database.stat().st_size:
        return False  # a database that begins anew has nothing to do with that log; the high-water mark shows what is missing
    left = Log(database)
    if not left.cut:
        return False
    exact = high_water is not None and high_water.exact
    # a power cut leaves the last commit in part, or without synchronisation any of the last ones
    mended = left.mend(torn=not exact) if exact or left.note == b"full" else None
    if mended is None:
        return True
    log.error("the log of the database was damaged, and is mended", pages=mended.pages)
    if not mended.consistent:
        raise apsw.CorruptError("its log was damaged")
    return False


def read_record(connection: apsw.Connection, value: bytes | None, least: int) -> tuple[SpoolRecord, bool]:
    """Return the stored state of the spool, and True if it had to be made up.

    Args:
        connection: to the database.
        value: what is stored.
        least: the next sequence is not below this.
    """
    if (known := values.record_in(value)) is not None:
        return known, False
    # a new id below: then it does not matter which sequences the old one had used
    messages, end = connection.execute("SELECT coalesce(sum(count), 0), coalesce(max(first + count), 1) FROM chunks").get
    letter = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM letters").get
    end = max(end, least)
    # keys of sinks that are not known any more must not be given out again
    next_key = 1 if end == 1 else secrets.randbelow(1 << 20) + (1 << 20)
    return SpoolRecord(new_id(), end, next_key, messages, letter, end), True


def compare_with_high_water(
    connection: apsw.Connection, record: SpoolRecord, high_water: HighWater | None, *, made_up: bool, lost: bool
) -> tuple[int, int] | None:
    """Notice commits that are missing, report them, and never give out their numbers again.

    Args:
        connection: to the database.
        record: what the database says; it is corrected.
        high_water: content of the high-water mark.
        made_up: the database knew nothing about the spool.
        lost: commits may be missing.

    Returns:
        the sequences that are missing; `None` when none is.
    """
    gone: tuple[int, int] | None = None
    if high_water is not None and (made_up or high_water.spool == record.id):
        # with its id the spool keeps its session with the broker, and all that waits there
        record.id = high_water.spool
        missing = high_water.next - record.next
        if missing > 0:
            log.error("the last commits are missing from the database", first=record.next, messages=missing)
            with suppress(apsw.FullError):  # a spool starts on a full disk, too
                connection.execute(MISSING, (record.next, missing))
            gone = (record.next, high_water.next)
            record.next = high_water.next
    if (lost or (made_up and record.next > 1)) and (high_water is None or not high_water.exact or high_water.spool != record.id):
        log.error("the last commits may be missing from the database: numbers are left out, so that none is used twice")
        record.next += _LEFT_OUT
    return gone
