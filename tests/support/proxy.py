"""An HTTP proxy that opens tunnels for clients with the password, and for no others."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

PASSWORD = "of-the-proxy"


@dataclass
class Proxy:
    """Connects on request, for clients that have the password."""

    port: int = 0
    tunnels: list[int] = field(default_factory=list)
    """Ports that clients asked for."""

    def url(self, password: str = PASSWORD) -> str:
        return f"http://router:{password}@127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        """Listen on a free port."""
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with contextlib.suppress(asyncio.CancelledError):
                await self._serve(reader, writer)
            tasks.discard(task)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            wanted = base64.b64encode(f"router:{PASSWORD}".encode()).decode()
            target = re.match(r"CONNECT ([^:]+):(\d+) HTTP/1\.1\r\n", head)
            if target is None or f"Proxy-Authorization: Basic {wanted}" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                writer.close()
                return
            self.tunnels.append(int(target[2]))
            up_reader, up_writer = await asyncio.open_connection(target[1], int(target[2]))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
