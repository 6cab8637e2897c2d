"""A TCP proxy that fails on demand: cut, half-open, slow, black hole."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress


class Chaos:
    """Sits between a client and a server on this machine; created by `chaos`."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self.port = 0
        self.delay = 0.0
        """Seconds before each piece of data is passed on."""
        self.connections = 0
        """Connections accepted so far."""

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def black_hole(self) -> None:
        """Swallow all data: connections stay up and new ones are accepted, but no byte is passed on (half-open TCP)."""
        self._flowing.clear()

    def forget(self) -> None:
        """Swallow the data of existing connections, as a router that lost its table does; new ones work."""
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection; new ones are accepted."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self) -> None:
        """Reset every connection, including new ones."""
        self._refusing = True
        self.cut()

    def heal(self) -> None:
        """Pass everything on again; connections stuck in a black hole are reset, as a network does after a while."""
        if not self._flowing.is_set():
            self.cut()
        self._refusing = False
        self.delay = 0.0
        self._flowing.set()

    async def close(self) -> None:
        """End every connection and stop listening."""
        assert self._server is not None
        self._server.close()
        self.cut()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)
        await self._server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        self.connections += 1
        self._writers.add(writer)
        try:
            if self._refusing:
                writer.transport.abort()
                return
            with suppress(OSError):
                back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
                self._writers.add(back_writer)
                try:
                    done, running = await asyncio.wait(
                        [
                            asyncio.create_task(self._pass_on(reader, back_writer)),
                            asyncio.create_task(self._pass_on(back_reader, writer)),
                        ],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    for direction in (*done, *running):
                        direction.cancel()
                    await asyncio.gather(*done, *running, return_exceptions=True)
                finally:
                    self._writers.discard(back_writer)
                    back_writer.transport.abort()
        except asyncio.CancelledError:
            # only `close` cancels, and it awaits this task
            return
        finally:
            self._writers.discard(writer)
            self._links.discard(task)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flowing = self._flowing
        while data := await reader.read(65536):
            if self.delay:
                await asyncio.sleep(self.delay)
            await flowing.wait()
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def chaos(target_port: int) -> AsyncIterator[Chaos]:
    """Start a proxy in front of a port of this machine."""
    proxy = Chaos(target_port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()


@contextmanager
def unanswered() -> Iterator[int]:
    """Yield a port of this machine whose connections are neither accepted nor refused."""
    with socket.socket() as hole, socket.socket() as first, socket.socket() as second:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(hole.getsockname())
        yield hole.getsockname()[1]
