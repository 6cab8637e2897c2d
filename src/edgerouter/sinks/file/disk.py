"""Opens files safely beside untrusted local users, writes them whole, and maps errors of the file system to errors of a sink."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from edgerouter.errors import Unauthorized, Unavailable

_PERMISSION = {errno.EACCES, errno.EPERM}


def unavailable(error: OSError, doing: str, path: Path | str) -> Unavailable:
    """Map an error to one that is retried: a full disk, a read-only file system, a missing permission, a folder that is gone."""
    kind = Unauthorized if error.errno in _PERMISSION else Unavailable
    # the kernel reports a symbolic link as "too many levels of symbolic links"
    link = error.errno == errno.ELOOP and error.strerror == os.strerror(errno.ELOOP)
    why = "there is a symbolic link, which the file sink does not follow" if link else error.strerror or error
    return kind(f"cannot {doing} {path}: {why}")


def open_regular(name: str, flags: int, mode: int, folder: int) -> int:
    """Open a regular file in a folder, without following links or blocking on a pipe or device.

    Args:
        name: of the file.
        flags: of `os.open`.
        mode: permissions of a new file.
        folder: an open folder.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return fd


def open_new(name: str, mode: int, folder: int) -> int:
    """Create a file that will replace another once complete; unlink leftovers of a crash, or of another user, under its name."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, mode, dir_fd=folder)
    except FileExistsError:
        os.unlink(name, dir_fd=folder)
        fd = os.open(name, flags, mode, dir_fd=folder)
    return fd


def exists(name: str, folder: int) -> bool:
    """Return True if the folder has an entry of this name, including a dangling link."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def write_all(fd: int, data: bytes) -> None:
    """Write every byte at the current end.

    Raises:
        OSError: some bytes may have been written.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
"""Return once the file's bytes and size are on disk."""


def sync_folder(folder: int) -> None:
    """Return once the names in a folder are on disk."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network and FUSE file systems cannot sync a folder, and need not
            raise
