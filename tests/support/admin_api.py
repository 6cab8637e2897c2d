"""A router in this process, with an HTTP source, sinks of the test and the admin server, and clients of its API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from edgerouter import plugins
from edgerouter.app import Router
from edgerouter.config.model import ConfiguredSink, RouterConfig
from support.mosquitto import free_port
from support.pipeline import until

TOKEN = "token-of-operators-0123"


@dataclass(slots=True)
class Box:
    """A running router and its addresses."""

    router: Router
    file: Path
    tcp: aiohttp.ClientSession
    """Without a token."""
    unix: aiohttp.ClientSession
    web: int
    """Port of the HTTP source."""
    port: int
    """Port of the admin server."""

    @property
    def streams_open(self) -> int:
        """Number of streams that are open."""
        return len(self.router.streams)

    async def publish(self, topic: str, *payloads: bytes) -> None:
        """Send messages, and return once they are stored."""
        async with aiohttp.ClientSession() as http:
            for payload in payloads:
                async with http.post(f"http://127.0.0.1:{self.web}/topics/{topic}", data=payload) as answer:
                    assert answer.status == 202, await answer.text()

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        """Return the JSON answer over TCP; `_` in the name of a header stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.tcp.get(path, headers=named) as answer:
            assert answer.status == status, await answer.text()
            return json.loads(await answer.read())

    async def change(self, path: str, body: Any = None, status: int = 200, method: str = "POST", token: str = TOKEN) -> Any:
        """Return the JSON answer over TCP to a request that changes something."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.tcp.request(method, path, json={} if body is None else body, headers=headers) as answer:
            assert answer.status == status, await answer.text()
            return json.loads(await answer.read())


@asynccontextmanager
async def box(
    folder: Path, *, sinks: Sequence[ConfiguredSink] = (), section: dict[str, Any] | None = None, **admin: Any
) -> AsyncIterator[Box]:
    """Run a router until left; `section` is that of its sink `out`, and `admin` completes the section of that name."""
    port, web = free_port(), free_port()
    file = folder / "edgerouter.yaml"
    settings = {"listen": f"127.0.0.1:{port}", "tokens": {"ops": {"token": TOKEN}}, **admin}
    config = {
        "sources": {"web": {"type": "http", "listen": f"127.0.0.1:{web}"}},
        "sinks": {"out": section or {"type": "file", "path": str(folder / "out")}},
        "spool": {"path": str(folder / "spool")},
        "admin": settings,
    }
    file.write_text(yaml.safe_dump(config))

    def load() -> RouterConfig:
        loaded = plugins.load(file, {})
        return replace(loaded, sinks=tuple(sinks)) if sinks else loaded

    router, stop = Router(load(), load=load), asyncio.Event()
    task = asyncio.create_task(router.run(stop), name="router")
    scheme = "https" if "tls" in admin else "http"
    address = settings["listen"].replace("0.0.0.0", "127.0.0.1")
    try:
        async with asyncio.timeout(30):
            await router.running.wait()
        await until(lambda: router.status().sources["web"].connected, 30)
        connector = aiohttp.UnixConnector(str(folder / "spool" / "control.sock"))
        async with (
            aiohttp.ClientSession(f"{scheme}://{address}") as tcp,
            aiohttp.ClientSession("http://edgerouter", connector=connector) as unix,
        ):
            yield Box(router, file, tcp, unix, web, int(address.rpartition(":")[2]))
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)
