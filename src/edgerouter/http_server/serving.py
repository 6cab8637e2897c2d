"""A server for plugins: answers HTTP or HTTPS over connections that are bounded in number, in time, and in unread bytes.

```python
async with serve(answer, "127.0.0.1:56001", most=512) as server:
    ...

async def answer(request: web.BaseRequest) -> web.StreamResponse:
    await invite(request)
    body = await request.content.read(MOST)
    complete(request)
```
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, cast

from aiohttp import web

from edgerouter.errors import ConfigurationError, Unavailable
from edgerouter.http_server.connections import Connection, Times
from edgerouter.http_server.handshakes import accepting
from edgerouter.http_server.listen import tcp_listeners
from edgerouter.http_server.problems import Problem, invite
from edgerouter.http_server.slow_readers import Connections
from edgerouter.http_server.tls import ServerIdentity, ServerTlsConfig

__all__ = ["Problem", "ServerTlsConfig", "Serving", "Times", "complete", "invite", "serve"]

_TIMES: Final = Times(head=10.0, body=30.0, idle=60.0)
_BACKLOG: Final = 1024
"""Connections that wait to be accepted: a busy machine would reset those beyond."""
_BUFFER_BYTES: Final = 64 * 1024
"""Of each connection in the kernel."""
_CLOSING_SECONDS: Final = 5.0
"""Time for requests that are being answered when the server stops."""

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Serving:
    """A server that listens.

    Args:
        port: port listened on.
        connections: those that are open.
    """

    def __init__(self, port: int, connections: Connections) -> None:
        self.port = port
        self._open = connections.doorkeeper.open

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._open)


def complete(request: web.BaseRequest) -> None:
    """Note that the whole request has come: its answer may take as long as it needs, and no other connection displaces it."""
    cast("Connection", request.protocol).answering()


@asynccontextmanager
async def serve(
    answer: Answer, listen: str, *, most: int, times: Times = _TIMES, tls: ServerTlsConfig | None = None
) -> AsyncIterator[Serving]:
    """Serve until left.

    A connection that sends or reads nothing ends after its time. Beyond `most` the one goes that waits longest for the rest of a
    request.

    Args:
        answer: answers a request, which is cut off after `times.body` unless it calls `complete` before. What it raises is logged
            and answered with 500, except `Problem`, which is an answer.
        listen: `host:port`; all addresses of a name.
        most: connections at once.
        times: seconds that a client may take.
        tls: certificate to present; read again when its files change.

    Raises:
        Unavailable: the address cannot be listened on, or a certificate not be used.
    """

    async def answered(request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("Connection", request.protocol)
        connection.receiving()
        try:
            return await answer(request)
        except Problem as problem:
            return problem.response()
        finally:
            connection.answered()

    try:
        identity = None if tls is None else await asyncio.to_thread(ServerIdentity, tls)
        listeners = tcp_listeners(listen, "listen", backlog=_BACKLOG)
    except (ConfigurationError, ValueError) as error:
        raise Unavailable(str(error)) from None
    for listener in listeners:
        listener.setblocking(False)
        # of each connection: one that sends much, or reads nothing, is noticed before megabytes wait
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    server = web.Server(answered)
    make = Connections(server, most=most, times=times)
    port = listeners[0].getsockname()[1]
    async with AsyncExitStack() as stack:
        accepts = [accepting(make, each, identity, most=most, seconds=times.head, backlog=_BACKLOG) for each in listeners]
        stops = [await stack.enter_async_context(accept) for accept in accepts]
        try:
            yield Serving(port, make)
        finally:
            for stop in stops:
                stop()
            server.pre_shutdown()  # idle connections end at once, others with their answer
            await server.shutdown(_CLOSING_SECONDS)
