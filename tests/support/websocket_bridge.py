"""A web server whose WebSocket leads to an MQTT broker on a plain port, as clouds have it on port 443."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Bridge:
    """Passes bytes on in both directions.

    Args:
        broker: port of the broker.
        admit: returns an answer that refuses a request, or `None`.
    """

    def __init__(self, broker: int, admit: Callable[[web.Request], web.Response | None]) -> None:
        self.broker = broker
        self.port = 0
        self.requests: list[str] = []
        """Path and query of every request for a WebSocket."""
        self._admit = admit

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        if (refusal := self._admit(request)) is not None:
            return refusal
        socket = web.WebSocketResponse(protocols=("mqtt",), max_msg_size=2**24)
        await socket.prepare(request)
        if socket.ws_protocol != "mqtt":
            await socket.close()
            return socket
        reader, writer = await asyncio.open_connection("127.0.0.1", self.broker)

        async def out() -> None:
            while data := await reader.read(65_536):
                await socket.send_bytes(data)
            await socket.close()

        passing = asyncio.create_task(out(), name="bridge")
        try:
            async for message in socket:
                if message.type == WSMsgType.BINARY:
                    writer.write(message.data)
        finally:
            writer.close()
            await asyncio.wait([passing])
        return socket


@asynccontextmanager
async def bridging(
    broker: int,
    path: str,
    *,
    tls: ssl.SSLContext | None,
    admit: Callable[[web.Request], web.Response | None] = lambda _: None,
    other: Handler | None = None,
) -> AsyncIterator[Bridge]:
    """Listen on a free port; `other` answers every request that is not for the WebSocket."""
    bridge = Bridge(broker, admit)

    async def route(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.Request)
        if request.path == path:
            return await bridge.serve(request)
        return await other(request) if other is not None else web.Response(status=404)

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", route)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    bridge.port = runner.addresses[0][1]
    try:
        yield bridge
    finally:
        await runner.cleanup()
