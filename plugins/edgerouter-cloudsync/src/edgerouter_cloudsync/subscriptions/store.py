"""Subscriptions and latest values on disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from edgerouter import Unavailable

FILE: Final = "cloudsync.sqlite"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS subscription (url TEXT, topic TEXT, appid TEXT, PRIMARY KEY (url, topic, appid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS latest (url TEXT, topic TEXT, payload BLOB, place INTEGER, PRIMARY KEY (url, topic)) WITHOUT ROWID;
"""


class Subscription(NamedTuple):
    """Interest of an application in a topic filter at a broker."""

    url: str
    topic: str
    appid: str


class Latest(NamedTuple):
    """Latest value of a topic."""

    url: str
    topic: str
    payload: bytes
    place: int
    """Grows with each value, so that the latest of several topics is known."""


class Store:
    """A small database; without a folder nothing is kept.

    Args:
        connection: open, or `None`.
    """

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, folder: Path | None) -> Store:
        """Open the database in a folder, and create both if they are missing.

        Raises:
            Unavailable: it cannot be opened.
        """
        return cls(await asyncio.to_thread(_open, folder) if folder is not None else None)

    async def read(self) -> tuple[list[Subscription], list[Latest]]:
        """Return everything that is kept, the values in their order."""
        if self._connection is None:
            return [], []
        async with self._turn:
            return await asyncio.to_thread(_read, self._connection)

    async def write(self, changed: Iterable[Latest], gone: Iterable[tuple[str, str]]) -> None:
        """Keep changed values, and forget those that are gone, by URL and topic.

        Raises:
            Unavailable: the disk does not take them.
        """
        await self._run(
            ("INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?)", list(changed)),
            ("DELETE FROM latest WHERE url = ? AND topic = ?", list(gone)),
        )

    async def subscribe(self, subscription: Subscription) -> None:
        """Keep a subscription; raises as `write` does."""
        await self._run(("INSERT OR REPLACE INTO subscription VALUES (?, ?, ?)", [subscription]))

    async def unsubscribe(self, subscriptions: Iterable[Subscription]) -> None:
        """Forget subscriptions; raises as `write` does."""
        await self._run(("DELETE FROM subscription WHERE url = ? AND topic = ? AND appid = ?", list(subscriptions)))

    async def close(self) -> None:
        """Close the database."""
        if self._connection is not None:
            async with self._turn:
                await asyncio.to_thread(self._connection.close)

    async def _run(self, *statements: tuple[str, list[tuple[object, ...]]]) -> None:
        connection = self._connection
        if connection is None:
            return

        def run() -> None:
            with connection:
                for statement, rows in statements:
                    connection.executemany(statement, rows)

        async with self._turn:
            try:
                await asyncio.to_thread(run)
            except sqlite3.Error as error:
                raise Unavailable(f"{FILE} cannot be written: {error}") from None


def _open(folder: Path) -> sqlite3.Connection:
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        with suppress(sqlite3.DatabaseError):
            return _connect(folder / FILE)
        # damaged: its content is a convenience, and not worth keeping the API down
        (folder / FILE).replace(folder / f"{FILE}.damaged")
        return _connect(folder / FILE)
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(f"{folder / FILE} cannot be opened: {error}") from None


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, check_same_thread=False)
    try:
        connection.executescript(_SCHEMA)
        connection.execute("SELECT count(*) FROM latest").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    file.chmod(0o640)
    return connection


def _read(connection: sqlite3.Connection) -> tuple[list[Subscription], list[Latest]]:
    subscriptions = [Subscription(*row) for row in connection.execute("SELECT url, topic, appid FROM subscription")]
    return subscriptions, [
        Latest(*row) for row in connection.execute("SELECT url, topic, payload, place FROM latest ORDER BY place")
    ]
