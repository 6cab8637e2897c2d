"""A client of server-sent events that writes raw requests, so that it can also stop reading."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple


class Sent(NamedTuple):
    """One event as it was sent."""

    number: str
    kind: str
    data: Any


class EventClient:
    """One open stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = ""

    async def open(self, path: str, **headers: str) -> int:
        """Ask for a stream; return the status code."""
        named = {"Host": "localhost", "Accept": "text/event-stream", **{k.replace("_", "-"): v for k, v in headers.items()}}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
        self.writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(30):
            self.head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        return int(self.head.split()[1])

    async def next(self) -> Sent:
        """Return the next event; signs of life are left out."""
        async with asyncio.timeout(30):
            while True:
                block = await self._block()
                fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
                if "data" in fields:
                    return Sent(fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"]))

    async def _block(self) -> str:
        """Read one chunk; the server writes each event as one."""
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        if not size:
            raise EOFError
        return (await self.reader.readexactly(size + 2))[:-2].decode()


@asynccontextmanager
async def event_client(port: int, *, receive_buffer: int | None = None) -> AsyncIterator[EventClient]:
    """Connect; with a small receive buffer, a client that does not read is noticed soon."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=2**16)
    try:
        yield EventClient(reader, writer)
    finally:
        writer.transport.abort()
