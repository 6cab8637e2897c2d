"""The high-water mark: how far the spool had come, beside its database, so that commits that are missing from it are noticed."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from edgerouter.private_files import open_private, read_private

FILE: Final = "spool.mark"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_LAYOUT: Final = struct.Struct("<32s36sQ")


class HighWater(msgspec.Struct, frozen=True):
    """Content of a high-water mark."""

    spool: str
    """The spool's id."""
    next: int
    """Its next sequence."""
    exact: bool
    """The machine has not been started since, so no commit came after it."""


def boot_id() -> bytes:
    """Return an id of this start of the machine; empty where the system has none."""
    try:
        return _BOOT.read_bytes().strip()
    except OSError:
        return b""


class HighWaterMark:
    """The spool's id and its next sequence, written after every commit.

    A process that is killed leaves it exact. It is not synchronised, so after a power cut it may be behind the database, which
    means nothing. A database that is behind the high-water mark has lost commits: its log was cut or removed, or it is an old copy.

    Args:
        folder: the spool's.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._file = -1
        self._boot = boot_id()

    def read(self) -> HighWater | None:
        """Return its content; `None` when there is no high-water mark, or none that can be read."""
        try:
            data = read_private(self._path, 2 * _LAYOUT.size)
        except OSError:
            return None
        content, checksum = data[: _LAYOUT.size], data[_LAYOUT.size :]
        if len(content) < _LAYOUT.size or checksum != crc32(content).to_bytes(4, "little"):
            return None
        name, boot, sequence = _LAYOUT.unpack(content)
        return HighWater(name.rstrip(b"\0").decode("ascii", "replace"), sequence, exact=boot.rstrip(b"\0") == self._boot != b"")

    def write(self, spool: str, sequence: int) -> None:
        """Set the high-water mark. Where it cannot be written the spool goes on without."""
        content = _LAYOUT.pack(spool.encode(), self._boot, sequence)
        with suppress(OSError):
            if self._file < 0:
                self._file = open_private(self._path, os.O_RDWR | os.O_CREAT)
            os.pwrite(self._file, content + crc32(content).to_bytes(4, "little"), 0)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
