"""What an error of the file system means for the messages, and whole writes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from edgerouter.errors import SinkUnauthorized, SinkUnavailable

_PERMISSION = {errno.EACCES, errno.EPERM}


def unavailable(error: OSError, doing: str, path: Path | str) -> SinkUnavailable:
    """The messages are kept and tried again: a full disk, a read-only file system, a missing permission, a folder that is gone."""
    kind = SinkUnauthorized if error.errno in _PERMISSION else SinkUnavailable
    return kind(f"cannot {doing} {path}: {error.strerror or error}")


def write_all(fd: int, data: bytes) -> None:
    """Write every byte at the end of what is there.

    Raises:
        OSError: some bytes may have been written.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
"""Return when the file's bytes and size are on the disk."""


def sync_folder(folder: int) -> None:
    """Return when the names in a folder are on the disk."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network and FUSE file systems cannot sync a folder, and need not
            raise
