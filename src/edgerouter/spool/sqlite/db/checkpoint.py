"""Checkpoints: folding the write-ahead log into the database once it is long."""

from __future__ import annotations

import apsw


class Checkpoint:
    """Runs between transactions, after the commits that make the log long.

    SQLite could do so by itself, and would not say when it fails for want of room.

    Args:
        connection: to the database.
        pages: of the log, after which it is folded in.
    """

    def __init__(self, connection: apsw.Connection, pages: int) -> None:
        self._connection = connection
        self._most = pages
        self._pages = 0
        self.stuck = False
        """The disk has no room to fold the log in. Until it has, the log grows with each commit: no more messages may come."""
        connection.set_wal_hook(self._log_grew)

    def run(self) -> None:
        """Bring the log into the database if it is long, so that it begins anew."""
        if self._pages < self._most:
            return
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.stuck = False
        except (apsw.FullError, apsw.IOError, apsw.ReadOnlyError):
            self.stuck = True

    def _log_grew(self, connection: apsw.Connection, name: str, pages: int) -> int:  # noqa: ARG002  (SQLite's call)
        self._pages = pages
        return apsw.SQLITE_OK
