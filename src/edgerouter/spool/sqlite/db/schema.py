"""The spool's database file: identity, schema, migration."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import apsw

from edgerouter.errors import SpoolUnusable
from edgerouter.private_files import open_private
from edgerouter.spool.sqlite.high_water import HighWaterMark

FILE: Final = "spool.db"
APPLICATION_ID: Final = 0x65647274  # "edrt"
PAGE: Final = 4096
RUNNING: Final = "running"
"""Name of the value that is there while a router runs, and after it was killed: how it synchronised its commits."""

# The payload stands last, so that reading what comes before it does not touch its overflow pages.
_CHUNKS = """
CREATE TABLE {name} (
    first INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    raw INTEGER NOT NULL,
    received INTEGER NOT NULL,
    span INTEGER NOT NULL,
    wanted BLOB NOT NULL,
    only INTEGER NOT NULL,
    receipts BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    payload BLOB NOT NULL
)
"""

SCHEMA: Final = (
    _CHUNKS.format(name="chunks"),
    # chunks whose checksum is wrong, as they were found
    _CHUNKS.format(name="quarantine"),
    # a few small values that change with each commit: together on one page
    "CREATE TABLE state (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    # chunks that every sink has settled, kept for replay
    "CREATE TABLE retained (first INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, settled INTEGER NOT NULL)",
    """
    CREATE TABLE letters (
        id INTEGER PRIMARY KEY,
        sink TEXT NOT NULL,
        topic TEXT NOT NULL,
        received INTEGER NOT NULL,
        reason TEXT NOT NULL,
        error TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        first_attempt INTEGER NOT NULL,
        last_attempt INTEGER NOT NULL,
        config_digest TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        message BLOB NOT NULL
    )
    """,
)


def _nothing(_: apsw.Connection) -> None:
    """The tables are the same; an earlier version would not read the journal beside them."""


MIGRATIONS: Final[Sequence[Callable[[apsw.Connection], None]]] = (_nothing,)
"""Step n makes version n+2 out of version n+1; `user_version` is the number of steps plus one."""


def connect(path: Path, *, synchronous: str, wal_pages: int) -> apsw.Connection:
    """Open the database, or make it.

    Raises:
        SpoolUnusable: it is not ours, or of a newer version, or the folder cannot be written.
        apsw.Error: it is damaged, or the disk fails.
    """
    refuse_foreign(path)
    try:
        # SQLite would make it readable for all users; its log gets the permissions of the database
        os.close(open_private(path, os.O_RDWR | os.O_CREAT))
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.ENOSPC):
            raise SpoolUnusable(f"spool.path: {path}: cannot be opened: {error.strerror or error}") from error
    try:
        connection = apsw.Connection(str(path))
    except apsw.CantOpenError as error:
        raise SpoolUnusable(f"spool.path: {path}: cannot be opened: {error}") from error
    try:
        # one process, one connection: no shared memory file, and fewer system calls
        connection.pragma("locking_mode", "exclusive")
        _identify(connection, path)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", synchronous)
        # the store folds the log in by itself, because it wants to know when that fails
        connection.pragma("wal_autocheckpoint", 0)
        connection.pragma("journal_size_limit", 2 * wal_pages * PAGE)
        connection.pragma("temp_store", "memory")
        _migrate(connection, path, MIGRATIONS)
    except BaseException:
        connection.close()
        raise
    return connection


def refuse_foreign(path: Path) -> None:
    """Refuse a file that neither is a database nor was one of ours before it was damaged.

    Raises:
        SpoolUnusable: it is.
    """
    try:
        for each in (path, *(path.with_name(f"{path.name}-{end}") for end in ("wal", "journal", "commits"))):
            if each.is_symlink():
                raise SpoolUnusable(f"spool.path: {each}: a symbolic link, which is not followed: remove it")
        if path.exists() and not path.is_file():
            raise SpoolUnusable(f"spool.path: {path}: not a file")
        with path.open("rb") as file:
            head = file.read(100)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SpoolUnusable(f"spool.path: {path}: cannot be read: {error.strerror or error}") from error
    if not head or head.startswith(b"SQLite format 3\0"):
        return
    ours = head[68:72] == APPLICATION_ID.to_bytes(4, "big")
    never_written = not any(head) and path.stat().st_size % PAGE == 0
    if not ours and not never_written and HighWaterMark(path.parent).read() is None:
        raise SpoolUnusable(f"spool.path: {path}: not a spool: this file belongs to another program")


def _identify(connection: apsw.Connection, path: Path) -> None:
    identity = connection.pragma("application_id")
    if identity == APPLICATION_ID:
        return
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if tables and HighWaterMark(path.parent).read() is not None:
        raise apsw.CorruptError("the database does not say that it is a spool, but the high-water mark beside it does")
    if identity != 0 or tables:
        raise SpoolUnusable(f"spool.path: {path}: not a spool: this database belongs to another program")


def _migrate(connection: apsw.Connection, path: Path, migrations: Sequence[Callable[[apsw.Connection], None]]) -> None:
    newest = len(migrations) + 1
    version = connection.pragma("user_version")
    if version < 0 or (version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get):
        raise apsw.CorruptError(f"a format {version} was never written")
    if version > newest:
        raise SpoolUnusable(f"spool.path: {path}: made by a newer edgerouter (format {version}, this one knows {newest})")
    if version == newest:
        return
    with connection:
        if version == 0:
            for statement in SCHEMA:
                connection.execute(statement)
        else:
            for step in migrations[version - 1 :]:
                step(connection)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", newest)
