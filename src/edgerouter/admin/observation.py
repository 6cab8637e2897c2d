"""Routes for orchestrators and Prometheus: health with its reasons, and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from edgerouter.admin.access import Caller
from edgerouter.admin.health import not_flowing, not_ready, paused
from edgerouter.admin.routes import Route, json_response
from edgerouter.admin.status import RouterStatus

if TYPE_CHECKING:
    from edgerouter.admin.metrics import Metrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text format."""

STARTING_SECONDS = 5.0
"""Time that a request for numbers waits for a router that starts: until it has its sinks they would seem not to be configured."""


async def begun(running: asyncio.Event) -> None:
    """Wait a while for a router that starts."""
    with suppress(TimeoutError):
        async with asyncio.timeout(STARTING_SECONDS):
            await running.wait()


def observation_routes(status: Callable[[], RouterStatus], metrics: Callable[[], Metrics], running: asyncio.Event) -> list[Route]:
    """Return the routes `/livez`, `/readyz`, `/flowz`, `/metrics`, and `/api/status`, the former name of `/api/v1/status`.

    `metrics` is called in a thread: the first call imports what only scraping needs.
    """

    async def live(_: web.Request, _caller: Caller) -> web.Response:
        return json_response({"live": True})

    async def ready(_: web.Request, _caller: Caller) -> web.Response:
        now = status()
        reasons = not_ready(now)
        return json_response({"ready": not reasons, "reasons": reasons, "paused": paused(now)}, 503 if reasons else 200)

    async def flowing(_: web.Request, _caller: Caller) -> web.Response:
        now = status()
        reasons = not_flowing(now)
        return json_response({"flowing": not reasons, "reasons": reasons, "paused": paused(now)}, 503 if reasons else 200)

    async def numbers(_: web.Request, _caller: Caller) -> web.Response:
        await begun(running)
        scraped = await asyncio.to_thread(metrics)
        # the numbers are read here, at one moment; their text takes longer, and would hold up every sink
        text = await asyncio.to_thread(scraped.text_of, scraped.families())
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def whole(_: web.Request, _caller: Caller) -> web.Response:
        await begun(running)
        return json_response(status())

    return [
        Route("GET", "/livez", "health", live),
        Route("GET", "/readyz", "health", ready),
        Route("GET", "/flowz", "health", flowing),
        Route("GET", "/metrics", "metrics", numbers),
        Route("GET", "/api/status", "read", whole),
    ]
