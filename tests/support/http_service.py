"""An HTTP service on a free port, for sinks to connect to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def http_service(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Run an HTTP service on a free port; yield its address."""
    app = web.Application(client_max_size=64 * 1024**2)
    app.router.add_post("/", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
