"""The write-ahead log after a crash: whether it is there, and what stands behind a damaged place in it.

SQLite stops at the first page of the log whose checksum is wrong, for that is where a power cut tears it. Where a disk has changed
a byte, all behind it would be lost, although it had been acknowledged. Such a log is mended here: every page has a checksum
that goes on from the stored one before it, so what is sound behind the damage is recognised, and gets a new chain of checksums.

The format: https://www.sqlite.org/fileformat2.html#walformat
"""

from __future__ import annotations

import struct
import sys
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw
import msgspec

from edgerouter.private_files import replace_private
from edgerouter.spool.sqlite.db.schema import PAGE, RUNNING

_HEAD: Final = 32
_FRAME: Final = 24 + PAGE
_START: Final = struct.Struct(">IIII8sII")
_SUMS: Final = struct.Struct(">II")
_BIG_ENDIAN: Final = 0x377F0683
_LITTLE_ENDIAN: Final = 0x377F0682
_VERSION: Final = 3007000
_TREES: Final = (2, 5, 10, 13)
"""First bytes of pages of trees; a page with the bytes of a message begins with 0, unless it is damaged just there."""

Sums = tuple[int, int]


class Mended(msgspec.Struct, frozen=True):
    """Result of mending a log."""

    pages: int
    """Number of its pages that were damaged."""
    consistent: bool
    """The trees of the database are as they were; only bytes of messages may be wrong."""


def was_lost(database: Path) -> bool:
    """Return True if the log is missing. A router that was killed leaves one behind, and one that was stopped does not."""
    log = log_of(database)
    return not log.exists() or log.stat().st_size < _HEAD


def log_of(database: Path) -> Path:
    """Return the path of the log of a database."""
    return database.with_name(database.name + "-wal")


class Log:
    """A log as a killed router left it, and the part of it that SQLite does not see.

    Args:
        database: its path; it is not open.

    Raises:
        apsw.Error: the database itself is damaged.
    """

    def __init__(self, database: Path) -> None:
        self._path = log_of(database)
        seen, self.note = _seen(database)
        """The note: how the router synchronised its commits."""
        self._data = bytearray(self._path.read_bytes())
        self._frames = max(0, len(self._data) - _HEAD) // _FRAME
        self._native = self._data[:4] == (_BIG_ENDIAN if sys.byteorder == "big" else _LITTLE_ENDIAN).to_bytes(4, "big")
        self._headed = self._native and self._sums(self._data[:24], (0, 0)) == _SUMS.unpack_from(self._data, 24)
        self._salt = bytes(self._data[16:24] if self._headed else self._data[_HEAD + 8 : _HEAD + 16])
        self._broken: set[int] = set()
        """Frames that are not what was written."""
        self._commits: list[int] = []
        """Frames that are sound and end a commit that SQLite does not see."""
        self._seen = self._count() if seen is None else seen
        self._look()

    @property
    def cut(self) -> bool:
        """True if something stands behind a damaged place that looks like a commit."""
        return any(self._ours(n) and any(self._data[self._at(n) + 4 : self._at(n) + 8]) for n in range(self._seen, self._frames))

    def mend(self, *, torn: bool) -> Mended | None:
        """Make SQLite see what is sound behind a damaged place.

        Args:
            torn: the last commit may have come to the disk in part, so that one that nothing follows is left as it is.

        Returns:
            what has been done; `None` when nothing has.
        """
        if len(self._commits) < (2 if torn else 1):
            return None
        last = self._commits[-1]
        broken = sorted(n for n in self._broken if n < last)
        consistent = self._fill(broken, last)
        self._chain(last)
        replace_private(self._path, bytes(self._data[: self._at(last + 1)]))
        return Mended(len(broken), consistent)

    def _count(self) -> int:
        """Number of frames SQLite sees: up to the last commit before the first frame that is not sound."""
        if not self._headed:
            return 0
        sums: Sums = _SUMS.unpack_from(self._data, 24)
        seen = 0
        for n in range(self._frames):
            at = self._at(n)
            sums = self._frame_sums(n, sums)
            if not self._ours(n) or sums != _SUMS.unpack_from(self._data, at + 16):
                break
            if any(self._data[at + 4 : at + 8]):
                seen = n + 1
        return seen

    def _look(self) -> None:
        """Find out which frames are sound."""
        sums: Sums | None = None
        if self._seen or self._headed:
            sums = _SUMS.unpack_from(self._data, self._at(self._seen - 1) + 16 if self._seen else 24)
        for n in range(self._seen, self._frames):
            at = self._at(n)
            stored: Sums = _SUMS.unpack_from(self._data, at + 16)
            # where the head is damaged, the first one cannot be checked
            if not self._ours(n) or (sums is not None and self._frame_sums(n, sums) != stored):
                self._broken.add(n)
            elif any(self._data[at + 4 : at + 8]):
                self._commits.append(n)
            sums = stored

    def _fill(self, broken: list[int], last: int) -> bool:
        """Give damaged frames a form in which they do least harm; whether the trees are as they were."""
        newest = {self._page(n): n for n in range(last + 1) if n not in self._broken}
        consistent = True
        for n in broken:
            at = self._at(n)
            if not self._ours(n):
                # it is unknown which page it was; what is written here comes again at the end
                self._data[at : at + _FRAME] = self._data[self._at(last) : self._at(last + 1)]
                consistent = False
            elif newest.get(self._page(n), -1) < n and self._data[at + 24] in _TREES:
                consistent = False
            # it ends no commit: what follows belongs to it
            self._data[at + 4 : at + 8] = bytes(4)
        return consistent

    def _chain(self, last: int) -> None:
        """Write the checksums of the frames anew, and the head if it is damaged."""
        if not self._headed:
            self._seen = 0
            magic = _BIG_ENDIAN if sys.byteorder == "big" else _LITTLE_ENDIAN
            _START.pack_into(self._data, 0, magic, _VERSION, PAGE, 0, self._salt, 0, 0)
            _SUMS.pack_into(self._data, 24, *self._sums(self._data[:24], (0, 0)))
        sums: Sums = _SUMS.unpack_from(self._data, self._at(self._seen - 1) + 16 if self._seen else 24)
        for n in range(self._seen, last + 1):
            sums = self._frame_sums(n, sums)
            _SUMS.pack_into(self._data, self._at(n) + 16, *sums)

    def _ours(self, n: int) -> bool:
        return self._data[self._at(n) + 8 : self._at(n) + 16] == self._salt

    def _page(self, n: int) -> int:
        return int.from_bytes(self._data[self._at(n) : self._at(n) + 4], "big")

    @staticmethod
    def _at(n: int) -> int:
        return _HEAD + n * _FRAME

    def _frame_sums(self, n: int, before: Sums) -> Sums:
        at = self._at(n)
        return self._sums(self._data[at + 24 : at + _FRAME], self._sums(self._data[at : at + 8], before))

    @staticmethod
    def _sums(data: bytearray, before: Sums) -> Sums:
        a, b = before
        words = iter(array("I", bytes(data)))
        for x, y in zip(words, words, strict=True):
            a = (a + x + b) & 0xFFFFFFFF
            b = (b + y + a) & 0xFFFFFFFF
        return a, b


def _seen(database: Path) -> tuple[int | None, bytes | None]:
    """Number of frames of its log that SQLite sees, `None` when unknown, and the note of the router that wrote it."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.pragma("locking_mode", "exclusive")
        note: bytes | None = None
        with suppress(apsw.SQLError):  # the power was cut before there were tables
            note = connection.execute("SELECT value FROM state WHERE name = ?", (RUNNING,)).get
        # only now, for SQLite opens the log when it reads something
        try:
            seen, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.FullError:
            return None, note  # it has no room for what it does beside counting
        return max(0, seen), note
    finally:
        connection.close()
