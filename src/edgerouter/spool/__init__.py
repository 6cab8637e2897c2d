"""The store between the sources and the sinks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edgerouter.config.model import SpoolConfig
from edgerouter.spool.contract import Spool


@asynccontextmanager
async def open_spool(config: SpoolConfig) -> AsyncIterator[Spool]:
    """Open the configured spool, and close it at the end.

    Raises:
        SpoolUnusable: the folder cannot be made or written, holds something else, is used by another router, or is newer.
    """
    # each is imported only where it is used: the one does not need SQLite, the other does not need the one
    if config.type == "memory":
        from edgerouter.spool.memory.spool import open_memory  # noqa: PLC0415

        async with open_memory(config) as volatile:
            yield volatile
    else:
        from edgerouter.spool.sqlite.open import open_sqlite  # noqa: PLC0415

        async with open_sqlite(config) as durable:
            yield durable
