"""Capacity of the spool's disk: what is used, and what may be."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgerouter.config.model import SpoolConfig
from edgerouter.histogram import Histogram
from edgerouter.private_files import open_private
from edgerouter.spool.sqlite.db.schema import PAGE
from edgerouter.spool.sqlite.db.transaction import Opened, Written
from edgerouter.spool.status import COMMIT_BOUNDS

MESSAGE_OVERHEAD: Final = 80
"""Bytes that a message may need on disk beyond its payload, about."""
_LOOK_AGAIN: Final = 1.0
_LEAST: Final = 64 * 1024
_RESERVE: Final = "spool.reserve"


@dataclass(slots=True)
class Usage:
    """The spool's numbers, as of the last transaction."""

    end: int
    """The sequence of the next message."""
    first: int
    messages: int
    used: int
    """Bytes of the database in use."""
    free: int
    """Bytes of the database file that are free for reuse."""
    retained: int
    """Bytes of chunks that are kept only for replay."""
    written_bytes: int = 0
    commits: int = 0
    """Since the start."""
    commit_times: Histogram = field(default_factory=lambda: Histogram.of(COMMIT_BOUNDS))
    crowded: bool = False
    """The journal is half full."""

    @classmethod
    def opened(cls, opened: Opened) -> Usage:
        """At the start."""
        return cls(opened.next, opened.first, opened.messages, opened.used, opened.free, opened.retained)

    def update(self, written: Written, seconds: float) -> None:
        """After a transaction that took so long."""
        self.first, self.messages = written.first, written.messages
        self.used, self.free, self.retained = written.used, written.free, written.retained
        self.written_bytes += written.stored
        self.commits += 1
        self.commit_times.add(seconds)
        self.crowded = written.crowded

    def reopened(self, opened: Opened) -> None:
        """After the database was replaced."""
        self.first, self.messages, self.retained = opened.first, opened.messages, opened.retained
        self.used, self.free = opened.used, opened.free


def wal_pages(config: SpoolConfig) -> int:
    """Pages after which the write-ahead log is folded into the database: 4 MiB, less where the spool or the disk is small."""
    disk = os.statvfs(config.path)
    return max(32, min(1000, config.max_bytes // 16 // PAGE, disk.f_blocks * disk.f_frsize // 64 // PAGE))


def free_bytes(folder: Path) -> int | None:
    """Return the bytes that the file system has left; `None` when that is unknown."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


class Capacity:
    """Compares what is used with what may be used."""

    def __init__(self, config: SpoolConfig, usage: Usage) -> None:
        self._folder = config.path
        self._max_bytes = config.max_bytes
        self._limit = config.max_bytes - wal_pages(config) * PAGE
        self._min_free_bytes = config.min_free_bytes
        self.usage = usage
        self.reserve = 2 * wal_pages(config) * PAGE
        """Bytes that are kept for writing down what is settled on a full disk."""
        self._free: int | None = None
        self._looked = float("-inf")

    @property
    def free_bytes(self) -> int | None:
        """Bytes that the file system has left, at most a second old; `None` when that is unknown."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_AGAIN:
            self._looked = now
            self._free = free_bytes(self._folder)
        return self._free

    def why_full(self, need: int) -> str:
        """Why so many bytes more have no room; empty when they have."""
        if self.usage.used + need > self._limit:
            return f"max_bytes: {self.usage.used} of {self._max_bytes} bytes are in use"
        free = self.free_bytes
        if free is not None and free < self._min_free_bytes and self.usage.free < need:
            return f"min_free_bytes: the file system has {free} bytes left"
        return ""

    @property
    def exhausted(self) -> bool:
        """Not even a small transaction has room."""
        self._looked = float("-inf")
        free = self.free_bytes
        return free is not None and free + self.usage.free < _LEAST

    def after_full(self, need: int) -> bool:
        """Return True if deliveries may be tried again after the disk was full: the reserve is not for them."""
        self._looked = float("-inf")
        free = self.free_bytes
        return free is None or free > need + 2 * self.reserve or self.usage.free > 2 * need


class Reserve:
    """A file that is given up when the disk is full, so that what is settled can still be written and make room.

    Without it nothing could be deleted on a full disk: deleting needs space in the write-ahead log, too.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._path = folder / _RESERVE
        self._size = size
        self.held = self._path.is_file() and not self._path.is_symlink()
        """True while the file is there."""

    def hold(self, free: int | None) -> None:
        """Make the file if the disk has plenty."""
        if self.held or free is None or free < 4 * self._size:
            return
        try:
            file = open_private(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                os.posix_fallocate(file, 0, self._size)
            finally:
                os.close(file)
            self.held = True
        except OSError:
            self.give_up()

    def give_up(self) -> None:
        """Delete the file."""
        self.held = False
        give_up_reserve(self._path.parent)


def give_up_reserve(folder: Path) -> bool:
    """Delete the reserve of the spool in this folder; returns whether it had one."""
    with suppress(OSError):  # a file system that does not even delete is read-only: the state of the spool says so
        (folder / _RESERVE).unlink()
        return True
    return False
