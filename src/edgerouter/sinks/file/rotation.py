"""Rotated files: numbered names, compression that no crash can hurt, and how many of them stay."""

from __future__ import annotations

import os
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from edgerouter.objects import Compression
from edgerouter.sinks.file.config import KeepConfig
from edgerouter.sinks.file.disk import exists, open_new, open_regular, sync_folder

_SUFFIXES: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_BLOCK = 256 * 1024
_NICE = 10  # compression may wait; messages may not


class RotatedFiles:
    """The files that `messages.jsonl` became: `messages-000001.jsonl`, `messages-000002.jsonl.gz`, ... by age.

    Numbers and not times: they stay in order when the clock does not.
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
        """The name of the file that is rotated next; no file has it."""
        with self._opened() as folder:
            number = max(self._names(folder), default=0) + 1
            # what is no file, such as a planted link, is passed over
            while exists(name := f"{self._stem}-{number:06d}{self._suffix}", folder):
                number += 1
        return name

    def has(self, name: str) -> bool:
        """Whether a file was given this name, compressed since or not."""
        with self._opened() as folder:
            return any(exists(name + suffix, folder) for suffix in _SUFFIXES.values())

    def tidy(self) -> None:
        """Compress and delete what is due. What fails, as on a full disk, is done the next time."""
        with suppress(OSError), self._opened() as folder:
            with suppress(OSError):
                if self._compression != "none":
                    for names in self._names(folder).values():
                        if all(not name.endswith((".gz", ".zst")) for name in names):
                            self._compress(names[0], folder)
                        elif len(names) > 1:
                            self._drop_plain(names, folder)
            self._prune(folder)

    def tidy_meekly(self) -> None:
        """`tidy` at a lower priority, which the calling thread keeps: for a thread of its own."""
        with suppress(OSError, AttributeError):  # not every platform has threads with a priority of their own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        self.tidy()

    def stop(self) -> None:
        """Give up compressing at the next block; it begins anew after the next start."""
        self._stop.set()

    def _drop_plain(self, names: list[str], folder: int) -> None:
        """A crash came between the compressed file's appearance, which is complete, and the plain one's removal."""
        for name in names:
            if not name.endswith((".gz", ".zst")):
                os.unlink(name, dir_fd=folder)

    def _compress(self, name: str, folder: int) -> None:
        temporary = f".{name}.compressing"
        # another user of the folder may have planted links: what they lead to is neither packed nor overwritten
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
        compressor = _compressor(self._compression)
        while block := plain.read(_BLOCK):
            if self._stop.is_set():
                return False
            packed.write(compressor.compress(block))
        packed.write(compressor.flush())
        return True

    def _prune(self, folder: int) -> None:
        if self._keep.files is None and self._keep.bytes is None:
            return
        size, full = 0, False
        for files, names in enumerate(reversed(self._names(folder).values()), 1):
            size += sum(os.stat(name, dir_fd=folder, follow_symlinks=False).st_size for name in names)
            full = full or (self._keep.files is not None and files > self._keep.files)
            full = full or (self._keep.bytes is not None and size > self._keep.bytes)
            if full and files > 1:  # the newest stays: its name tells a start after a crash that the rotation was done
                for name in names:
                    os.unlink(name, dir_fd=folder)

    def _names(self, folder: int) -> dict[int, list[str]]:
        """Rotated files by number, oldest first; more than one of a number when a crash came while one was compressed."""
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


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _compressor(compression: Compression) -> _Compressor:
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
    return zlib.compressobj(6, wbits=31)
