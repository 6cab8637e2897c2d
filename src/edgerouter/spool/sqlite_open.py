"""Opening the durable spool, and closing it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edgerouter.config.model import SpoolConfig
from edgerouter.spool.sqlite import SqliteSpool
from edgerouter.spool.sqlite_file import FILE, connect, lock_folder
from edgerouter.spool.sqlite_room import wal_pages
from edgerouter.spool.sqlite_store import Opened, Store
from edgerouter.spool.sqlite_thread import DatabaseThread


@asynccontextmanager
async def open_sqlite(config: SpoolConfig) -> AsyncIterator[SqliteSpool]:
    """Lock the folder and open the database in it, or make both.

    Raises:
        SpoolUnusable: the folder cannot be made or written, holds something else, is used by another router, or is newer.
    """

    def open_store() -> tuple[Store, Opened]:
        connection = connect(config.path / FILE, synchronous=config.synchronous, wal_pages=wal_pages(config))
        store = Store(connection, config.retain)
        return store, store.open()

    with lock_folder(config.path):
        thread = DatabaseThread(asyncio.get_running_loop())
        try:
            store, opened = await thread.run(open_store)
            spool = SqliteSpool(config, thread, store, opened)
            try:
                yield spool
            finally:
                await spool.close()
                await thread.run(store.close)
        finally:
            await thread.stop()
