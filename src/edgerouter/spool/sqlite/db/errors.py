"""What SQLite's errors mean for a spool, and how it says so."""

from __future__ import annotations

import errno
from typing import Final

import apsw

from edgerouter.errors import SpoolError, SpoolFull, SpoolReadOnly

COMPLAIN_EVERY: Final = 60.0
"""Seconds in which the same is said once."""

DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError, UnicodeDecodeError)
"""What is raised when the file is not what was written; the last one by a text in it."""


def explain(error: BaseException) -> SpoolError:
    """What a failed transaction means for the user."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, apsw.FullError) or number == errno.ENOSPC:
        return SpoolFull("the disk is full")
    if isinstance(error, (apsw.ReadOnlyError, apsw.CantOpenError)) or number == errno.EROFS:
        return SpoolReadOnly("the file system is read-only")
    return SpoolError(f"the disk fails: {error}")
