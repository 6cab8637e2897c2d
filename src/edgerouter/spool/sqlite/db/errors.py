"""What SQLite's errors mean for a spool, and how it says so."""

from __future__ import annotations

import errno
import time
from typing import Final

import apsw
import structlog

from edgerouter.errors import SpoolError, SpoolFull, SpoolReadOnly
from edgerouter.spool.contract import SpoolState

COMPLAIN_EVERY: Final = 60.0
"""Seconds in which the same is said once."""

DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError, UnicodeDecodeError)
"""What is raised when the file is not what was written; the last one by a text in it."""


log = structlog.get_logger("edgerouter.spool")


class Trouble:
    """Why the database takes nothing just now."""

    def __init__(self) -> None:
        self.now: tuple[SpoolState, str] | None = None
        """The state and its reason; `None` when it takes everything."""
        self._told: dict[SpoolState, float] = {}
        self._telling = False

    def begins(self, state: SpoolState, reason: str) -> None:
        """Something could not be written."""
        now = time.monotonic()
        # a disk at its brim is full and not full by turns
        if (self.now is None or self.now[0] != state) and now - self._told.get(state, float("-inf")) > COMPLAIN_EVERY:
            self._told[state] = now
            self._telling = True
            log.error("spool cannot be written, trying again", state=state, reason=reason)
        self.now = (state, reason)

    def ends(self) -> None:
        """Something could be written."""
        self.now = None
        if self._telling:
            log.info("spool can be written again")
        self._telling = False


def explain(error: BaseException) -> SpoolError:
    """What a failed transaction means for the user."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, apsw.FullError) or number == errno.ENOSPC:
        return SpoolFull("the disk is full")
    if isinstance(error, (apsw.ReadOnlyError, apsw.CantOpenError)) or number == errno.EROFS:
        return SpoolReadOnly("the file system is read-only")
    return SpoolError(f"the disk fails: {error}")
