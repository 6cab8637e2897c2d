"""The write-ahead log is folded into the database once it is long, and a disk without room for that is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from edgerouter.spool.sqlite.db.checkpoint import Checkpoint


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def connection(database: Path) -> apsw.Connection:
    opened = apsw.Connection(str(database))
    opened.execute("PRAGMA journal_mode = wal")
    opened.execute("CREATE TABLE t (x)")
    return opened


def test_a_short_log_stays(connection: apsw.Connection, database: Path) -> None:
    checkpoint = Checkpoint(connection, pages=100)
    connection.execute("INSERT INTO t VALUES (zeroblob(40960))")
    before = database.stat().st_size

    checkpoint.run()

    assert database.stat().st_size == before


def test_a_long_log_is_folded_into_the_database(connection: apsw.Connection, database: Path) -> None:
    checkpoint = Checkpoint(connection, pages=10)
    connection.execute("INSERT INTO t VALUES (zeroblob(40960))")
    assert database.stat().st_size < 40960

    checkpoint.run()

    assert database.stat().st_size > 40960
    assert not checkpoint.stuck


class FullDisk:
    """A connection whose log is long, on a disk that is full at first."""

    full = True

    def set_wal_hook(self, hook: Callable[[object, str, int], int]) -> None:
        hook(self, "main", 11)

    def wal_checkpoint(self, mode: int) -> None:
        if self.full:
            raise apsw.FullError


def test_a_full_disk_is_noticed_until_it_has_room_again() -> None:
    connection = FullDisk()
    checkpoint = Checkpoint(connection, pages=10)  # type: ignore[arg-type]

    checkpoint.run()
    assert checkpoint.stuck

    connection.full = False
    checkpoint.run()
    assert not checkpoint.stuck
