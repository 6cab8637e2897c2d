"""The journal: one write and one sync for each commit, in front of the database, which takes them over many at a time.

A file of fixed size beside the database. Entries stand one behind the other from its beginning; once the database has taken them
over the next one is written at the beginning again. An entry is known by the file's random salt, so neither what is left of an
earlier run nor what a device sends can look like one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

import apsw
import msgspec
import structlog

from edgerouter.private_files import open_private, read_private
from edgerouter.spool.log.chunk import Header

FILE: Final = "spool.db-commits"
"""Beside the database; the part of its name before the hyphen is the database's."""
SECTOR: Final = 512
"""Entries begin at multiples of this: a disk writes so many bytes wholly or not at all."""
_SALT: Final = 16
_MAGIC: Final = b"edgerouter commits\0\1"
_HEADER: Final = Struct(f"<{len(_MAGIC)}s{_SALT}s")
_ENTRY: Final = Struct(f"<{_SALT}sQII")
_SECOND: Final = 4096
_BEGIN: Final = 2 * _SECOND
"""The header stands before it twice, in two pages."""
_PARTS: Final = 3
"""The file is so many times as large as what is used of it: the rest is for a database that a full disk keeps from growing."""
_MOST_READ: Final = 64 * 1024 * 1024
_WRITE: Final = 64 * 1024

log = structlog.get_logger("edgerouter.spool")

Row = tuple[Header, bytes]
"""A row of the table of chunks: header and payload."""


class Entry(msgspec.Struct, array_like=True):
    """One commit."""

    number: int
    """Commits are numbered from 1 over the life of the spool."""
    spool: str
    """The spool's id."""
    rows: Sequence[Row]
    put: Mapping[str, bytes]
    delete: Sequence[str]
    """Names of small values, deleted before those of `put` are stored."""


class Journal:
    """The journal's file, written in the database's thread.

    Args:
        folder: the spool's.
        size: bytes that entries may take.
        sync: wait for the disk after each entry.
    """

    def __init__(self, folder: Path, size: int, *, sync: bool) -> None:
        self._path = folder / FILE
        self._size = size
        self._sync = sync
        self._file: apsw.VFSFile | None = None
        self._salt = b""
        self._at = _BEGIN
        self._encode = msgspec.msgpack.Encoder().encode

    def read(self) -> list[Entry]:
        """Return the entries of an earlier run, or of this one, in the order of their numbers; what is damaged is left out.

        Raises:
            OSError: the file cannot be read, or is a symbolic link.
        """
        try:
            data = read_private(self._path, _MOST_READ)
        except FileNotFoundError:
            return []
        salt = _salt(data)
        if salt is None:
            if any(data):
                log.error("the journal of the database is damaged: the commits in it are lost", file=self._path.name)
            return []
        found = list(_entries(data, salt))
        if found:
            # what stands behind the newest is left of earlier rounds
            newest = max(range(len(found)), key=lambda at: found[at].number)
            found = sorted(found[: newest + 1], key=lambda entry: entry.number)
        return found

    def begin(self, free: int | None) -> None:
        """Make the file anew, without entries; where the disk has no room for it, everything goes into the database at once.

        Args:
            free: bytes that the file system has left; `None` when that is unknown.
        """
        self._close()
        whole = self._size * _PARTS
        if free is not None and free < 2 * whole:
            self.remove()
            return
        try:
            file = open_private(self._path, os.O_RDWR | os.O_CREAT)
            try:
                os.posix_fallocate(file, 0, whole)
            finally:
                os.close(file)
            flags = [apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_SUPER_JOURNAL, 0]
            self._file = apsw.VFSFile("", str(self._path), flags)
            self._salt = secrets.token_bytes(_SALT)
            header = _HEADER.pack(_MAGIC, self._salt)
            header = (header + crc32(header).to_bytes(4, "little")).ljust(SECTOR, b"\0")
            self._file.xWrite(header, 0)
            self._file.xWrite(header, _SECOND)
            # the name of the file is synchronised, too
            self._file.xSync(apsw.SQLITE_SYNC_NORMAL)
        except (OSError, apsw.Error) as error:
            log.warning("there is no journal: each commit goes into the database", reason=str(error))
            self._close()
            self.remove()
        self._at = _BEGIN

    @property
    def crowded(self) -> bool:
        """True when half of it is used."""
        return self._at > self._size // 2

    def encode(self, entry: Entry, *, last: bool = False) -> bytes:
        """Return the entry as it is written, or nothing where it has no room.

        Args:
            entry: with the next number.
            last: it may also go into the last quarter.
        """
        if self._file is None:
            return b""
        body = self._encode(entry)
        head = _ENTRY.pack(self._salt, entry.number, len(body), crc32(body))
        if self._at + len(head) + len(body) > (self._size if last else self._size // 4 * 3):
            return b""
        return head + body

    def append(self, encoded: bytes) -> None:
        """Write an entry; when this returns it is on disk.

        Raises:
            apsw.Error: it may not be.
        """
        assert self._file is not None, "there is room for the entry"
        for start in range(0, len(encoded), _WRITE):
            self._file.xWrite(encoded[start : start + _WRITE], self._at + start)
        if self._sync:
            self._file.xSync(apsw.SQLITE_SYNC_NORMAL | apsw.SQLITE_SYNC_DATAONLY)
        self._at += -(-len(encoded) // SECTOR) * SECTOR

    def taken_over(self) -> None:
        """Everything is in the database: the next entry is written at the beginning."""
        self._at = _BEGIN

    def give_room(self) -> bool:
        """Make the file smaller, so that a database on a full disk can grow; returns false where that was done before."""
        try:
            if self._path.stat().st_size <= self._size:
                return False
            os.truncate(self._path, self._size)
        except OSError:
            return False
        return True

    def remove(self) -> None:
        """Delete the file; nothing in it is needed."""
        with suppress(OSError):
            self._path.unlink()

    def close(self, *, remove: bool) -> None:
        """Close the file.

        Args:
            remove: everything is in the database, so that it is not needed.
        """
        self._close()
        if remove:
            self.remove()

    def _close(self) -> None:
        if self._file is not None:
            self._file.xClose()
            self._file = None


def _salt(data: bytes) -> bytes | None:
    length = _HEADER.size
    for at in (0, _SECOND):
        head, checksum = data[at : at + length], data[at + length : at + length + 4]
        if head.startswith(_MAGIC) and checksum == crc32(head).to_bytes(4, "little"):
            salt: bytes = _HEADER.unpack(head)[1]
            return salt
    return None


def _entries(data: bytes, salt: bytes) -> Iterator[Entry]:
    """Yield what is sound, in the order of the file."""
    at = _BEGIN
    while (at := _next(data, salt, at)) >= 0:
        _, number, length, checksum = _ENTRY.unpack_from(data, at)
        body = data[at + _ENTRY.size : at + _ENTRY.size + length]
        entry = _decode(body, number) if len(body) == length and crc32(body) == checksum else None
        if entry is not None:
            yield entry
            at += -(-(_ENTRY.size + length) // SECTOR) * SECTOR
        else:
            at += SECTOR


def _next(data: bytes, salt: bytes, at: int) -> int:
    """Return where the next entry seems to begin; below 0: nowhere."""
    while (at := data.find(salt, at)) >= 0:
        if at % SECTOR == 0 and at + _ENTRY.size <= len(data):
            return at
        at += 1
    return -1


def _decode(body: bytes, number: int) -> Entry | None:
    try:
        entry = msgspec.msgpack.decode(body, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return entry if entry.number == number else None
