"""Opening the durable spool, and closing it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edgerouter.config.model import SpoolConfig
from edgerouter.spool.folder import locked_folder
from edgerouter.spool.sqlite.spool import SqliteSpool
from edgerouter.spool.sqlite.store import Store
from edgerouter.spool.sqlite.thread import DatabaseThread


@asynccontextmanager
async def open_sqlite(config: SpoolConfig) -> AsyncIterator[SqliteSpool]:
    """Lock the folder and open the database in it, or make both.

    Raises:
        SpoolUnusable: the folder cannot be made or written, holds something else, is used by another router, or is newer.
    """
    with locked_folder(config.path):
        thread = DatabaseThread()
        try:
            store = Store(config)
            opened = await thread.run(store.open)
            spool = SqliteSpool(config, thread, store, opened)
            try:
                yield spool
            finally:
                await spool.close()
                await thread.run(store.close)
        finally:
            await thread.close(patience=None)
