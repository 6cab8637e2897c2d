"""A broker, a router with a sink that a test breaks, and its dashboard in a browser."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
from aiohttp import web
from playwright.async_api import Browser, Page

from support.browser import Visit, chromium
from support.http_service import http_service
from support.mosquitto import Mosquitto, free_port, running
from support.router import RouterProcess, router

TOKEN = "a-token-of-32-characters-or-more"


@dataclass
class Service:
    """An HTTP service that refuses what contains `poison`, and everything while it is down."""

    up: bool = True
    poison: bool = True
    taken: list[Any] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        lines = [json.loads(line) for line in (await request.read()).splitlines()]
        if not self.up:
            return web.Response(status=503, text="maintenance until <b>18:00</b>")
        if self.poison and any("poison" in line["topic"] or "\u202e" in line["topic"] for line in lines):
            return web.Response(status=422, text="not in my schema: <i>temp</i>")
        self.taken += lines
        return web.Response()


@dataclass
class Plant:
    """A broker, a router with two sinks, a service for one of them, and a browser."""

    broker: Mosquitto
    process: RouterProcess
    service: Service
    browser: Browser
    url: str

    async def publish(self, topic: str, payload: str | bytes) -> None:
        async with aiomqtt.Client("127.0.0.1", self.broker.port) as client:
            await client.publish(topic, payload, qos=1)

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(await self.process.get("/api/v1/status"))
        return status


@asynccontextmanager
async def running_plant(folder: Path) -> AsyncIterator[Plant]:
    """Start all of it; the service of the sink `cloud` is up."""
    service, port = Service(), free_port()
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(chromium())
        broker = stack.enter_context(running(folder / "broker", "max_packet_size 200000", "log_type error"))
        url = await stack.enter_async_context(http_service(service.take))
        config = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["plant/#"]}},
            "spool": {"path": str(folder / "spool"), "max_bytes": "64MiB"},
            "sinks": {
                "cloud": {"type": "http", "url": url, "retry": {"first_delay": "100ms", "max_delay": "500ms"}},
                "archive": {"type": "file", "path": str(folder / "archive"), "topics": ["plant/+/temp"]},
            },
            "admin": {
                "listen": f"127.0.0.1:{port}",
                "tokens": {"maintenance": {"token": TOKEN}},
                "tap": {"enabled": True, "redact": {"fields": ["pin"]}},
            },
        }
        process = await stack.enter_async_context(router(folder, config))
        await process.start()
        yield Plant(broker, process, service, browser, f"http://127.0.0.1:{port}/")


def card(page: Page, sink: str) -> Any:
    """Return the card of a sink."""
    return page.get_by_role("article", name=sink)


async def sign_in(visited: Visit) -> None:
    """Type the token, as an operator does."""
    page = visited.page
    await page.get_by_role("button", name="Token").click()
    await page.locator("#token-value").fill(TOKEN)
    await page.get_by_role("button", name="Use", exact=True).click()


async def dead_letter(plant: Plant, topic: str = "plant/poison/temp", payload: str = '{"t": 21}') -> None:
    """Make a dead letter of the sink `cloud`."""
    before = (await plant.status())["spool"]["dead_letters"]
    await plant.publish(topic, payload)
    await plant.process.until(lambda status: status["spool"]["dead_letters"] == before + 1)
