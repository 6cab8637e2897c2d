"""The listener: connections bounded in number, in the bytes of their headers and in time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from edgerouter import Unavailable

log = structlog.get_logger("edgerouter.cloudsync")

HEAD_SECONDS: Final = 10.0
"""Time for the first request of a connection."""
_IDLE_SECONDS: Final = 60.0
"""Time between two requests of a connection."""
_BACKLOG: Final = 1024
"""Connections that wait to be accepted: a busy machine would reset those beyond."""
_STOP_SECONDS: Final = 5.0
"""Time for requests that are being answered when the server stops."""

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Listener:
    """Makes the protocols of connections.

    Args:
        handle: answers a request.
        most: most connections; further ones are closed at once.
    """

    def __init__(self, handle: Handle, most: int) -> None:
        self.server = web.Server(handle, access_log=None)
        self.port = 0
        """Port listened on."""
        self.connections = 0
        """Connections that are open."""
        self._most = most

    def __call__(self) -> web.RequestHandler:
        return _Connection(self)

    @property
    def is_full(self) -> bool:
        """No further connection may come."""
        return self.connections >= self._most


class _Connection(web.RequestHandler):
    """aiohttp's connection, with a bound and a time for its first request."""

    __slots__ = ("_admitted", "_head", "_listener")

    def __init__(self, listener: Listener) -> None:
        super().__init__(
            listener.server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_IDLE_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's runners pass None, too: it writes no access log
            lingering_time=1.0,
            auto_decompress=False,
        )
        self._listener = listener
        self._admitted = False
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._listener.is_full:
            cast("asyncio.Transport", transport).abort()
            return
        self._admitted = True
        self._listener.connections += 1
        super().connection_made(transport)
        self._head = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._time_over)

    def data_received(self, data: bytes) -> None:
        if self._admitted:
            super().data_received(data)

    def eof_received(self) -> None:
        if self._admitted:
            super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._admitted:
            self._listener.connections -= 1
            self.first_came()
            super().connection_lost(exc)

    def first_came(self) -> None:
        """Note that the head of a request has come."""
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  (may quote what the caller sent)
    ) -> web.StreamResponse:
        """Answer a malformed request, which is the client's fault and not logged, or a bug, which is."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has been sent already")
        if not isinstance(exc, HttpProcessingError):
            log.error("a request failed", exc_info=exc)
        response = web.Response(status=status, text="not a valid request\n" if status < 500 else "see the router's log\n")
        response.force_close()
        return response

    def _time_over(self) -> None:
        if self.transport is not None:
            self.transport.abort()


@asynccontextmanager
async def served(handle: Handle, address: str, context: ssl.SSLContext | None, most: int) -> AsyncIterator[Listener]:
    """Serve until left.

    Args:
        handle: answers a request.
        address: `host:port`.
        context: TLS, or `None`.
        most: most connections.

    Raises:
        Unavailable: the address cannot be listened on.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        protocol = request.protocol
        if isinstance(protocol, _Connection):
            protocol.first_came()
        return await handle(request)

    listener = Listener(answer, most)
    host, _, port = address.rpartition(":")
    try:
        handshake = None if context is None else HEAD_SECONDS
        server = await asyncio.get_running_loop().create_server(
            listener, host.strip("[]"), int(port), backlog=_BACKLOG, ssl=context, ssl_handshake_timeout=handshake
        )
    except OSError as error:
        raise Unavailable(f"cannot listen on {address}: {error.strerror or error}") from None
    try:
        listener.port = server.sockets[0].getsockname()[1]
        yield listener
    finally:
        server.close()
        await listener.server.shutdown(_STOP_SECONDS)
