"""Rotated files: numbered names, crash-safe compression, and retention."""

from __future__ import annotations

import gzip
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from edgerouter.objects import Compression
from edgerouter.sinks.file.config import KeepConfig
from edgerouter.sinks.file.disk import exists, open_new, open_regular, sync_folder

_SUFFIXES: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_BLOCK = 256 * 1024
_NICE = 10  # compression may wait; messages may not


class RotatedFiles:
    """Rotated files of `messages.jsonl`, oldest first: `messages-000001.jsonl`, `messages-000002.jsonl.gz`, ...

    They are numbered, because times get out of order when the clock is set back.
    """

    def __init__(self, folder: Path, file: str, compression: Compression, keep: KeepConfig, mode: int) -> None:
        self._folder = folder
        self._stem, self._suffix = Path(file).stem, Path(file).suffix
        self._compression: Compression = compression
        self._keep = keep
        self._mode = mode
        self._pattern = re.compile(re.escape(self._stem) + r"-(\d{6,})" + re.escape(self._suffix) + r"(?:\.gz|\.zst)?")
        self._stop = threading.Event()

    def next_name(self) -> str:
        """Return an unused name for the next rotated file."""
        with self._opened() as folder:
            number = max(self._names(folder), default=0) + 1
            # entries that are not files, such as planted links, are skipped
            while exists(name := f"{self._stem}-{number:06d}{self._suffix}", folder):
                number += 1
        return name

    def has(self, name: str) -> bool:
        """Return True if a file was given this name, even if it has been compressed since."""
        with self._opened() as folder:
            return any(exists(name + suffix, folder) for suffix in _SUFFIXES.values())

    def tidy(self) -> None:
        """Compress and delete what is due. A failure, such as a full disk, is retried the next time."""
        with suppress(OSError), self._opened() as folder:
            with suppress(OSError):
                if self._compression != "none":
                    for names in self._names(folder).values():
                        if all(not name.endswith((".gz", ".zst")) for name in names):
                            self._compress(names[0], folder)
                        elif len(names) > 1:
                            self._drop_plain(names, folder)
            self._prune(folder)

    def tidy_in_background(self) -> None:
        """Lower the priority of the calling thread, then `tidy`: for a dedicated thread."""
        with suppress(OSError, AttributeError):  # not every platform has priorities per thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        self.tidy()

    def stop(self) -> None:
        """Stop compressing at the next block; compression restarts after the next start."""
        self._stop.set()

    def _drop_plain(self, names: list[str], folder: int) -> None:
        """Remove the plain file of a pair: a crash came after its compressed form was complete."""
        for name in names:
            if not name.endswith((".gz", ".zst")):
                os.unlink(name, dir_fd=folder)

    def _compress(self, name: str, folder: int) -> None:
        temporary = f".{name}.compressing"
        # another user of the folder may have planted links: their targets are neither compressed nor overwritten
        source = open_regular(name, os.O_RDONLY, 0, folder)
        try:
            with os.fdopen(source, "rb") as plain, os.fdopen(open_new(temporary, self._mode, folder), "wb") as packed:
                os.fchmod(packed.fileno(), self._mode)
                if not self._copy(plain, packed):
                    return
                packed.flush()
                os.fsync(packed.fileno())
            os.rename(temporary, name + _SUFFIXES[self._compression], src_dir_fd=folder, dst_dir_fd=folder)
            sync_folder(folder)
            os.unlink(name, dir_fd=folder)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)

    def _copy(self, plain: BinaryIO, packed: BinaryIO) -> bool:
        with _compressing(packed, self._compression) as file:
            while block := plain.read(_BLOCK):
                if self._stop.is_set():
                    return False
                file.write(block)
        return True

    def _prune(self, folder: int) -> None:
        if self._keep.files is None and self._keep.bytes is None:
            return
        size, full = 0, False
        for files, names in enumerate(reversed(self._names(folder).values()), 1):
            size += sum(os.stat(name, dir_fd=folder, follow_symlinks=False).st_size for name in names)
            full = full or (self._keep.files is not None and files > self._keep.files)
            full = full or (self._keep.bytes is not None and size > self._keep.bytes)
            if full and files > 1:  # the newest stays: after a crash its name proves that the rotation was completed
                for name in names:
                    os.unlink(name, dir_fd=folder)

    def _names(self, folder: int) -> dict[int, list[str]]:
        """Return the rotated files by number, oldest first; a crash during compression leaves two of one number."""
        names: dict[int, list[str]] = {}
        with os.scandir(folder) as entries:
            for name in sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False)):
                if match := self._pattern.fullmatch(name):
                    names.setdefault(int(match[1]), []).append(name)
        return dict(sorted(names.items()))

    @contextmanager
    def _opened(self) -> Iterator[int]:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield folder
        finally:
            os.close(folder)


def _compressing(packed: BinaryIO, compression: Compression) -> Any:
    """Return a writable file, whose end completes the compressed data and leaves `packed` open."""
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(packed, closefd=False)
    return gzip.GzipFile("", "wb", 6, packed, mtime=0)
