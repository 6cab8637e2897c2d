"""Files of the router's own, in its own folder: private to its user, and no planted link is followed."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o640
"""Most that a file of ours allows: the group may read, for backups."""
FOLDER_MODE: Final = 0o750


def open_private(path: Path, flags: int, mode: int = FILE_MODE) -> int:
    """Open a file, or make it with `os.O_CREAT`, and return its descriptor.

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
        most: read no more bytes; -1 = all.

    Raises:
        OSError: it cannot be read, or is a symbolic link.
    """
    with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
        return file.read(most)


def replace_private(path: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """Write a file whole or not at all, synchronised.

    Raises:
        OSError: it could not be written; the one before is as it was.
    """
    new = path.with_name(path.name + ".new")
    try:
        # what is left of an interrupted write, or was planted there, is replaced and never written through
        new.unlink(missing_ok=True)
        with os.fdopen(open_private(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def make_private(folder: Path) -> None:
    """Make a folder and those above it that are missing.

    Raises:
        OSError: it cannot be made.
    """
    for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        path.mkdir(exist_ok=True, mode=FOLDER_MODE)


def tighten(path: Path) -> None:
    """Take from a file or folder the permissions that others have; links and what is not ours stay as they are."""
    with suppress(OSError):
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
            return
        most = FOLDER_MODE if stat.S_ISDIR(found.st_mode) else FILE_MODE
        if stat.S_IMODE(found.st_mode) & ~most:
            # the folder belongs to us and others do not write there, so it is still what was looked at
            path.chmod(stat.S_IMODE(found.st_mode) & most)
