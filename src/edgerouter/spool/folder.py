"""The spool's folder: made when it is missing, and locked for one process."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from edgerouter.errors import SpoolUnusable
from edgerouter.private_files import open_private, tighten

LOCK: Final = "spool.lock"


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make the folder and lock it for this process until left.

    Raises:
        SpoolUnusable: the folder cannot be made or written, others may write into it, or another router uses it.
    """
    try:
        _make(folder)
        _refuse_others(folder)
        lock = open_private(folder / LOCK, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise SpoolUnusable(f"spool.path: {folder}: {error.strerror or error}") from error
    try:
        _lock(lock, folder)
        _tighten(folder)
        yield
    finally:
        os.close(lock)


def _make(folder: Path) -> None:
    """Make the folder and those above it, such that a power cut does not take back the names of those that are new."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    for path in new:
        above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(above)
        finally:
            os.close(above)


def _refuse_others(folder: Path) -> None:
    """Refuse a folder in which other users may put files.

    Raises:
        SpoolUnusable: it is.
    """
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & stat.S_IWOTH:
        raise SpoolUnusable(
            f"spool.path: {folder}: the folder is world-writable (mode {mode:04o}): "
            f"run `chmod o-w {folder}`, or name a private folder in it"
        )


def _tighten(folder: Path) -> None:
    """Close the files that an earlier version left readable for all. Files of others in the folder stay as they are."""
    tighten(folder)
    for name in ("spool.*", "sources", "sources/*", "sources/*/*", "last-known-secrets*"):
        for path in folder.glob(name):
            tighten(path)


def _lock(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
        raise SpoolUnusable(f"spool.path: {folder}: in use by another router, process {owner or 'unknown'}") from None
    except OSError as error:
        raise SpoolUnusable(f"spool.path: {folder}: cannot be locked: {error.strerror or error}") from error
    with suppress(OSError):  # on a full disk the number of the process is missing, which only shortens an error message
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
