"""Listeners of the Event Hubs server: AMQP and AMQP over WebSocket, each plain or with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from support.amqp.engine import Connection, Container

SUBPROTOCOL = "AMQPWSB10"
WEBSOCKET_PATH = "/$servicebus/websocket"


class _TcpStream:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, size: int) -> bytes:
        return await self._reader.readexactly(size)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()


class _WebSocketStream:
    """Byte stream over WebSocket messages: AMQP frames need not start at message boundaries."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self._socket, self._request = socket, request
        self._read, self._out = bytearray(), bytearray()
        self._flushes: set[asyncio.Task[None]] = set()

    async def read(self, size: int) -> bytes:
        await self.drain()
        while len(self._read) < size:
            message = await self._socket.receive()
            if message.type is not WSMsgType.BINARY:
                raise EOFError
            self._read += message.data
        taken = bytes(self._read[:size])
        del self._read[:size]
        return taken

    def write(self, data: bytes) -> None:
        self._out += data
        flush = asyncio.get_running_loop().create_task(self.drain())
        self._flushes.add(flush)
        flush.add_done_callback(self._flushes.discard)

    async def drain(self) -> None:
        out, self._out = bytes(self._out), bytearray()
        if out and not self._socket.closed:
            with contextlib.suppress(OSError):
                await self._socket.send_bytes(out)

    def abort(self) -> None:
        if self._request.transport:
            self._request.transport.abort()

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._socket.close()


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a listener."""

    host: str
    port: int


@contextlib.asynccontextmanager
async def serve_tcp(container: Container, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Address]:
    """Serve AMQP on a TCP port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await Connection(_TcpStream(reader, writer), container).run()
        except asyncio.CancelledError:
            pass  # the server is stopping; asyncio would report a cancelled handler
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@contextlib.asynccontextmanager
async def serve_websocket(container: Container, tls: ssl.SSLContext | None = None) -> AsyncIterator[Address]:
    """Serve AMQP in binary WebSocket messages."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), max_msg_size=0)
        await socket.prepare(request)
        if socket.ws_protocol != SUBPROTOCOL:
            await socket.close(code=1002)
            return socket
        await Connection(_WebSocketStream(socket, request), container).run()
        return socket

    app = web.Application()
    app.router.add_get(WEBSOCKET_PATH, serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield Address("127.0.0.1", runner.addresses[0][1])
    finally:
        await runner.cleanup()
