"""The admin server: its listeners, and what every answer has in common."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from edgerouter.admin.access import Door, TcpDoor, UnixDoor
from edgerouter.admin.routes import Route, connection_of, guarded
from edgerouter.config.admin import AdminConfig
from edgerouter.errors import ConfigurationError
from edgerouter.http_server.connections import Times
from edgerouter.http_server.doorkeeper import quiet_logger
from edgerouter.http_server.handshakes import accepting
from edgerouter.http_server.listen import host_of, tcp_listener
from edgerouter.http_server.problems import Problem
from edgerouter.http_server.slow_readers import Connections
from edgerouter.http_server.tls import ServerIdentity
from edgerouter.weak_points import warn, weak_points

log = structlog.get_logger("edgerouter.app")

_KEPT: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""The loop would look for the socket's file by the name that it was bound to; that of a long path holds a descriptor, which is
another file's by now."""
MOST_CONNECTIONS: Final = 64
TIMES: Final = Times(head=10.0, body=30.0, idle=60.0)
"""Half a request and silence is what an attack, or a broken client, looks like."""
_BACKLOG: Final = 256
_BUFFER_BYTES: Final = 64 * 1024
"""Of each connection in the kernel; it would let one that reads slowly grow to megabytes."""
_MOST_BODY_BYTES: Final = 1024**2
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "edgerouter",
    "X-Content-Type-Options": "nosniff",
}


@web.middleware
async def problems_explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer each refusal with problem details."""
    connection = connection_of(request)
    connection.receiving()
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPNotFound:
        return Problem(404, f"there is nothing at {request.path[:200]!r}; GET /api/v1/openapi.json lists what is there").response()
    except web.HTTPMethodNotAllowed as refusal:
        allowed = ", ".join(sorted(refusal.allowed_methods))
        return Problem(405, f"this answers {allowed}", headers={"Allow": allowed}).response()
    except web.HTTPRequestEntityTooLarge:
        return Problem(413, f"a request has at most {_MOST_BODY_BYTES} bytes", close=True).response()
    finally:
        connection.answered()


@web.middleware
async def asked_for_this_machine(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests by a page of another site: after DNS rebinding to this machine a browser still sends that site's name."""
    host = request.headers.get("Host")
    if host is not None and not _is_local(host):
        raise Problem(421, f"this address answers to localhost and to IP addresses, not to {host[:100]!r}")
    return await handler(request)


def _is_local(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


@asynccontextmanager
async def serve(
    routes: Sequence[Route], control: socket.socket | None, config: AdminConfig, on_shutdown: Callable[[], None] = lambda: None
) -> AsyncIterator[None]:
    """Serve until left.

    Args:
        routes: on every listener.
        control: a listening Unix socket, which its owner alone can open; `None` = there is none.
        config: of the TCP listener.
        on_shutdown: ends the answers that have no end.

    Raises:
        ConfigurationError: `admin.listen`, `admin.tls` or a file of `admin.tokens` cannot be used.
    """
    async with AsyncExitStack() as stack:
        if config.listen is not None:
            await stack.enter_async_context(_tcp(routes, config, config.listen, on_shutdown))
        if control is not None:
            server = await _server(stack, routes, UnixDoor(), on_shutdown)
            listening = await asyncio.get_running_loop().create_unix_server(_connections(server), sock=control, **_KEPT)
            stack.callback(listening.close)
        yield


@asynccontextmanager
async def _tcp(routes: Sequence[Route], config: AdminConfig, listen: str, on_shutdown: Callable[[], None]) -> AsyncIterator[None]:
    identity = await asyncio.to_thread(_identity, config)
    listener = tcp_listener(listen, "admin.listen", backlog=_BACKLOG)
    local = ip_address(listener.getsockname()[0]).is_loopback
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        door = await asyncio.to_thread(TcpDoor, config, local=local)
        server = await _server(stack, routes, door, on_shutdown, local=local)
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        _warn(config, listen)
        make = _connections(server)
        accept = accepting(make, listener, identity, most=MOST_CONNECTIONS, seconds=TIMES.head, backlog=_BACKLOG)
        await stack.enter_async_context(accept)
        yield


def _connections(server: web.Server) -> Connections:
    return Connections(server, most=MOST_CONNECTIONS, times=TIMES)


def _identity(config: AdminConfig) -> ServerIdentity | None:
    try:
        return None if config.tls is None else ServerIdentity(config.tls)
    except ValueError as error:
        raise ConfigurationError(f"admin.tls: {error}") from None


def _warn(config: AdminConfig, listen: str) -> None:
    secret = "token of callers" if config.tokens else ""
    points = weak_points(
        host_of(listen), encrypted=config.tls is not None, insecure=False, secret=secret, instead="`admin.tls`, and https://"
    )
    warn(points, log, "admin", listen)


async def _server(
    stack: AsyncExitStack, routes: Sequence[Route], door: Door, on_shutdown: Callable[[], None], *, local: bool = False
) -> web.Server:
    middlewares = (problems_explained, *([asked_for_this_machine] if local else []))
    app = web.Application(client_max_size=_MOST_BODY_BYTES, middlewares=middlewares)
    app.add_routes([guarded(route, door) for route in routes])

    async def complete(_: web.Request, response: web.StreamResponse) -> None:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)

    async def end(_: web.Application) -> None:
        on_shutdown()

    app.on_response_prepare.append(complete)
    app.on_shutdown.append(end)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0, logger=quiet_logger())
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    assert runner.server is not None, "it is set up"
    return runner.server
