"""Opens the router's own files: private to its user, and without following planted links."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o640
"""Widest permissions of the router's files: the group may read, for backups."""
FOLDER_MODE: Final = 0o750


def open_private(path: Path, flags: int, mode: int = FILE_MODE) -> int:
    """Open a file, creating it with `os.O_CREAT`, and return its descriptor.

    Raises:
        OSError: it cannot be opened, or is a symbolic link.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, f"{path} is a symbolic link, which is not followed: remove it", str(path)) from None
        raise


def read_private(path: Path, most: int = -1) -> bytes:
    """Read a file.

    Args:
        path: the file.
        most: bytes to read at most; -1 = all.

    Raises:
        OSError: it cannot be read, or is a symbolic link.
    """
    with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
        return file.read(most)


def replace_private(path: Path, content: bytes, mode: int = FILE_MODE, *, sync: bool = True) -> None:
    """Write a file atomically and sync it.

    Args:
        path: the file.
        content: all of it.
        mode: its permissions.
        sync: also wait until it is on the disk; without, a power cut may bring the previous content back.

    Raises:
        OSError: it could not be written; the previous content is unchanged.
    """
    new = path.with_name(path.name + ".new")
    try:
        # a leftover of an interrupted write, or a planted file, is replaced and never written through
        new.unlink(missing_ok=True)
        with os.fdopen(open_private(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents.

    Raises:
        OSError: it cannot be created.
    """
    for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        path.mkdir(exist_ok=True, mode=FOLDER_MODE)


def tighten(path: Path) -> None:
    """Remove permissions of other users from a file or folder; links and files of other owners are left alone."""
    with suppress(OSError):
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
            return
        most = FOLDER_MODE if stat.S_ISDIR(found.st_mode) else FILE_MODE
        if stat.S_IMODE(found.st_mode) & ~most:
            # the folder belongs to this user and others cannot write to it, so the path still names the same file
            path.chmod(stat.S_IMODE(found.st_mode) & most)
