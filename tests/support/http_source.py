"""An HTTP source that is open, a router behind it that stores as a test says, and a client that writes raw requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from edgerouter import Delivery, Message, SourceContext
from edgerouter.sources.http.config import HttpSourceConfig
from edgerouter.sources.http.source import HttpSource
from support.mosquitto import free_port


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def detail(self) -> str:
        """Explanation of a refusal."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        return str(problem["detail"])


class HttpClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, path: str, body: bytes = b"x", *, method: str = "POST", length: int | None = None, **headers: str) -> None:
        """Write a request; `_` in the name of a header stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if "Transfer-Encoding" not in named:
            named["Content-Length"] = str(len(body) if length is None else length)
        lines = [f"{method} {path} HTTP/1.1", "Host: edge", *(f"{name}: {value}" for name, value in named.items())]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def answer(self) -> Answer:
        """Read the next answer."""
        async with asyncio.timeout(30):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(first.split()[1]), headers, body)

    async def ask(self, path: str, body: bytes = b"x", **options: Any) -> Answer:
        """Send a request and return its answer."""
        self.send(path, body, **options)
        return await self.answer()

    async def closed(self) -> bool:
        """Return true once the server has closed the connection; false if it sends something."""
        try:
            async with asyncio.timeout(30):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True


async def stream(client: HttpClient, *, chunked: bool) -> None:
    """Send a body without end."""
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n" if chunked else b"x" * 65_536
    with suppress(ConnectionError):
        while True:
            client.writer.write(piece)
            await client.writer.drain()


@dataclass(slots=True)
class Serving:
    """A source that listens."""

    port: int
    source: HttpSource
    stores: asyncio.Event = field(default_factory=asyncio.Event)
    """Clear it, and nothing is stored."""
    deliveries: list[Delivery] = field(default_factory=list)
    flushes: int = 0

    @property
    def messages(self) -> list[Message]:
        """Everything stored."""
        return [message for delivery in self.deliveries for message in delivery.messages]

    @property
    def stored(self) -> list[tuple[str, bytes]]:
        """Topics and payloads of everything stored."""
        return [(message.topic, message.payload) for message in self.messages]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[HttpClient]:
        """Connect."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield HttpClient(reader, writer)
        finally:
            writer.transport.abort()

    async def ask(self, path: str, body: bytes = b"x", **options: Any) -> Answer:
        """Send one request on a new connection."""
        async with self.client() as client:
            return await client.ask(path, body, **options)

    async def store(self) -> None:
        """Store what comes in, as the router does."""
        async for delivery in self.source.deliveries():
            await self.stores.wait()
            self.deliveries.append(delivery)
            delivery.acknowledge()


@asynccontextmanager
async def serving(unacknowledged: Sequence[Delivery] = (), host: str = "127.0.0.1", **config: Any) -> AsyncIterator[Serving]:
    """Open a source on a free port, and store what comes in."""
    port = free_port()
    flushed: list[int] = []
    context = SourceContext(
        name="web",
        host="edge-1",
        spool="spool",
        flush_now=lambda: flushed.append(1),
        dropped=lambda _topic, _messages, _reason: None,
        connected=lambda _yes, _reason: None,
        unacknowledged=unacknowledged,
    )
    settings = HttpSourceConfig.model_validate({"listen": f"{host}:{port}", **config})
    async with HttpSource.open(settings, context) as source:
        running = Serving(port, source)
        running.stores.set()
        storing = asyncio.create_task(running.store(), name="store")
        try:
            yield running
            running.flushes = len(flushed)
        finally:
            storing.cancel()
            await asyncio.wait((storing,))
