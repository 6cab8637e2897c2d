"""One growing file: each batch is appended whole or not at all, and in `once` mode never twice; the file rotates."""

from __future__ import annotations

import fcntl
import os
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from edgerouter.errors import Unavailable
from edgerouter.message import Message
from edgerouter.objects import encode
from edgerouter.outcome import DELIVERED, Outcome
from edgerouter.sinks.file.config import FileConfig
from edgerouter.sinks.file.disk import exists, open_regular, sync_data, sync_folder, unavailable, write_all
from edgerouter.sinks.file.journal import Appended, Journal, Rotated, identity_of
from edgerouter.sinks.file.objects import open_folder
from edgerouter.sinks.file.rotation import RotatedFiles

_BLOCK = 65536
_FILE = os.O_RDWR | os.O_CREAT | os.O_APPEND


class GrowingFile:
    """The growing file with its lock, its rotated files and, in `once` mode, its journal.

    Every call blocks and belongs in the sink's one thread.

    Args:
        config: the sink's.
        abandoned: returns True if the caller of the current `write` has stopped waiting.
        rotated: called after each rotation.
    """

    def __init__(
        self, config: FileConfig, rotated_files: RotatedFiles, abandoned: Callable[[], bool], rotated: Callable[[], None]
    ) -> None:
        self._config = config
        self._path = config.path / config.file
        self._abandoned = abandoned
        self._rotated = rotated
        self._rotated_files = rotated_files
        self._journal: Journal | None = None
        self._fd = self._lock = -1
        self._size = 0
        self._torn = False
        self._unsynced = False
        self._born = self._synced = time.monotonic()
        self._folder = open_folder(config.path, config.mode)
        try:
            self._open()
        except OSError as error:
            self.close()
            raise unavailable(error, "open", self._path) from error
        except BaseException:
            self.close()
            raise

    def write(self, batch: Sequence[Message]) -> Outcome:
        """Append a batch whole, or not at all."""
        try:
            self._mend()
            if self._journal is not None and self._journal.holds(identity_of(batch)):
                return DELIVERED
            data = encode(batch, self._config.framing)
            self._rotate_if_due(len(data))
            self._append(batch, data)
        except OSError as error:
            raise unavailable(error, "write", self._path) from error
        return DELIVERED

    def tend(self) -> None:
        """Sync and rotate what is due by time alone; an error surfaces again at the next write."""
        with suppress(OSError):
            self._mend()
            self._rotate_if_due(0)
            self._sync_if_due()

    def close(self) -> None:
        """Sync everything to disk and close."""
        try:
            if self._unsynced and self._config.fsync != "never":
                sync_data(self._fd)
        except OSError as error:
            raise unavailable(error, "write", self._path) from error
        finally:
            if self._journal is not None:
                self._journal.close()
            for fd in (self._fd, self._lock, self._folder):
                if fd >= 0:
                    os.close(fd)
            self._journal = None
            self._fd = self._lock = self._folder = -1

    # opening

    def _open(self) -> None:
        self._take_lock()
        journal_name = f".{self._config.file}.journal"
        if self._config.once:
            self._journal = Journal(self._folder, journal_name, self._config.mode)
            self._finish_rotation(self._journal)
            self._open_file()
            self._recover(self._journal)
        else:
            with suppress(FileNotFoundError):  # a journal that misses the writes of a run without `once` would be wrong
                os.unlink(journal_name, dir_fd=self._folder)
                sync_folder(self._folder)
            self._open_file()
            self._end_line()
        if self._size:
            self._born -= max(0.0, time.time() - self._read_birth())

    def _take_lock(self) -> None:
        self._lock = open_regular(f".{self._config.file}.lock", os.O_RDWR | os.O_CREAT, self._config.mode, self._folder)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"cannot open {self._path}: another sink or router writes it") from None

    def _open_file(self) -> None:
        existed = exists(self._config.file, self._folder)
        fd = open_regular(self._config.file, _FILE, self._config.mode, self._folder)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self._torn = fd, os.fstat(fd).st_size, False
        if not existed:
            os.fchmod(fd, self._config.mode)
            if self._config.fsync != "never":
                sync_folder(self._folder)
        if not self._size:
            self._born = time.monotonic()
            os.pwrite(self._lock, b"%020d" % time.time(), 0)

    def _finish_rotation(self, journal: Journal) -> None:
        """Complete a rename that the journal announced before a crash."""
        last = journal.last
        if isinstance(last, Rotated) and not self._rotated_files.has(last.name) and exists(self._config.file, self._folder):
            self._rename(last.name)

    def _recover(self, journal: Journal) -> None:
        """Truncate the one batch that a crash may have torn; everything before it was synced before the batch began."""
        last = journal.last
        if isinstance(last, Appended) and self._size >= last.offset:
            content = os.pread(self._fd, last.length, last.offset)
            if len(content) < last.length or zlib.crc32(content) != last.crc:
                journal.forget(last.identity)
                self._cut(last.offset)
        elif isinstance(last, Appended):
            journal.forget(last.identity)  # another process truncated the file
        self._end_line()
        journal.rewrite(self._size)

    def _end_line(self) -> None:
        """End or remove a torn line, so that it neither merges with the next one nor stands among whole lines.

        Its batch was not settled and is written again. A torn line that is not JSON Lines is ended and kept, because a torn payload
        cannot be distinguished from a whole one.
        """
        if not self._size or self._config.framing == "length-prefixed" or os.pread(self._fd, 1, self._size - 1) == b"\n":
            return
        if self._config.framing in ("jsonl", "jsonl-exact"):
            start = self._start_of_last_line()
            try:
                msgspec.json.decode(os.pread(self._fd, self._size - start, start))
            except msgspec.DecodeError:
                self._cut(start)
                return
        write_all(self._fd, b"\n")
        self._size += 1

    def _start_of_last_line(self) -> int:
        end = self._size
        while end > 0:
            start = max(0, end - _BLOCK)
            newline = os.pread(self._fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0

    def _read_birth(self) -> float:
        text = os.pread(self._lock, 20, 0)
        return float(text) if text.isdigit() else time.time()

    # appending

    def _append(self, batch: Sequence[Message], data: bytes) -> None:
        journal = self._journal
        if journal is not None:
            if journal.is_long:
                journal.rewrite(self._size)
            journal.begin(batch, self._size, data)
        self._torn = self._unsynced = True
        try:
            write_all(self._fd, data)
            if self._config.fsync == "batch":
                sync_data(self._fd)
                self._unsynced = False
        except OSError:
            self._undo()
            raise
        if self._abandoned():
            self._undo()  # the runner counts the write as failed and repeats it
            return
        self._torn = False
        self._size += len(data)
        if journal is not None:
            journal.done(batch)
        self._sync_if_due()

    def _undo(self) -> None:
        if self._journal is not None:
            self._journal.undo()
        with suppress(OSError):  # the next write starts by truncating again
            self._cut(self._size)

    def _cut(self, size: int) -> None:
        self._torn = True
        os.ftruncate(self._fd, size)
        self._size = size
        self._torn = False

    def _mend(self) -> None:
        """Truncate what could not be truncated before, and reopen the file if another process removed or replaced it."""
        if self._torn:
            self._cut(self._size)
        try:
            there = os.stat(self._config.file, dir_fd=self._folder, follow_symlinks=False)
            ours = os.fstat(self._fd)
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return
        except FileNotFoundError:
            pass
        self._open_file()
        self._end_line()
        if self._journal is not None:
            self._journal.rewrite(self._size)

    def _sync_if_due(self) -> None:
        if self._unsynced and self._config.fsync == "interval" and time.monotonic() - self._synced >= self._config.fsync_interval:
            sync_data(self._fd)
            self._synced = time.monotonic()
            self._unsynced = False

    # rotating

    def _rotate_if_due(self, more: int) -> None:
        size, age = self._config.rotate.size, self._config.rotate.age
        too_large = size is not None and self._size + more > size
        too_old = age is not None and time.monotonic() - self._born >= age
        if self._size and (too_large or too_old):
            self._rotate()

    def _rotate(self) -> None:
        name = self._rotated_files.next_name()
        if self._unsynced and self._config.fsync != "never":
            sync_data(self._fd)
            self._unsynced = False
        if self._journal is not None:
            self._journal.rotated(name)
        self._rename(name)
        self._open_file()
        self._rotated()

    def _rename(self, name: str) -> None:
        os.rename(self._config.file, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        if self._config.fsync != "never":
            sync_folder(self._folder)


def idle_time(config: FileConfig) -> float | None:
    """Return the seconds between two calls of `tend`; None if time alone never makes anything due."""
    times = [config.rotate.age, config.fsync_interval if config.fsync == "interval" else None]
    return min((max(each / 4, 0.05) for each in times if each is not None), default=None)
