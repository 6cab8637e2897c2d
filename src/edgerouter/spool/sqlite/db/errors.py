"""Meaning of SQLite's errors for a spool."""

from __future__ import annotations

import errno
from typing import Final

import apsw

from edgerouter.errors import SpoolError, SpoolFull, SpoolReadOnly

COMPLAIN_EVERY: Final = 60.0
"""Seconds in which the same is said once."""

DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError, UnicodeDecodeError)
"""Raised when the file is not what was written; the last one by a text in it."""


def explain(error: BaseException) -> SpoolError:
    """Return the meaning of a failed transaction for the user."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, apsw.FullError) or number == errno.ENOSPC:
        return SpoolFull("the disk is full")
    if isinstance(error, (apsw.ReadOnlyError, apsw.CantOpenError)) or number == errno.EROFS:
        return SpoolReadOnly("the file system is read-only")
    return SpoolError(f"the disk fails: {error}")
