"""A TCP proxy that modifies traffic, to make a real server send rare packets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress


class Rewriting:
    """Created by `rewriting`."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._links: set[asyncio.Task[None]] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.from_server: Callable[[bytes], bytes] = lambda data: data
        """Modifies a piece of data on its way to the client."""
        self.answer: Callable[[bytes], bytes | None] = lambda _: None
        """Inspects the first data of a client; its result is sent back and the connection closed; `None` passes the data on."""

    def say(self, data: bytes) -> None:
        """Send data to every client as if it came from the server."""
        for client in self._clients:
            client.write(data)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        self._clients.add(writer)
        try:
            with suppress(OSError):
                first = await reader.read(65536)
                if (answer := self.answer(first)) is not None:
                    writer.write(answer)
                    await writer.drain()
                    return
                back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
                back_writer.write(first)
                await asyncio.gather(
                    _pump(reader, back_writer, lambda data: data),
                    _pump(back_reader, writer, lambda data: self.from_server(data)),  # noqa: PLW0108  (may change later)
                )
        except asyncio.CancelledError:
            return
        finally:
            self._clients.discard(writer)
            self._links.discard(task)
            writer.transport.abort()

    async def close(self) -> None:
        """End every connection."""
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, change: Callable[[bytes], bytes]) -> None:
    try:
        while data := await source.read(65536):
            target.write(change(data))
    except OSError:
        return
    finally:
        target.close()


@asynccontextmanager
async def rewriting(target_port: int) -> AsyncIterator[Rewriting]:
    """Start a proxy in front of a port of this machine."""
    proxy = Rewriting(target_port)
    server = await asyncio.start_server(proxy.take, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
