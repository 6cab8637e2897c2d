"""A server that reads one request after another and answers with the bytes it is given, right or wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class RawHttp:
    """Bytes received so far."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.requests: list[tuple[bytes, bytes]] = []
        """Head and body of each."""


@asynccontextmanager
async def raw_http(answer: bytes | Answer) -> AsyncIterator[RawHttp]:
    """Listen on a free port of 127.0.0.1.

    Args:
        answer: the bytes for each request, or writes them.
    """
    seen = RawHttp()
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = re.search(rb"(?i)content-length: (\d+)", head)
                    seen.requests.append((head, await reader.readexactly(int(length[1]) if length else 0)))
                    if isinstance(answer, bytes):
                        writer.write(answer)
                        await writer.drain()
                    else:
                        await answer(writer)
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        connections.add(asyncio.create_task(serve(reader, writer), name=f"connection {seen.connections}"))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield seen
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


async def for_ever(writer: asyncio.StreamWriter, unit: bytes, pause: float = 0) -> None:
    """Write one unit repeatedly until the client disconnects."""
    while True:
        writer.write(unit)
        await writer.drain()
        await asyncio.sleep(pause)
