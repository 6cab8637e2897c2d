"""The HTTP source: a server that stores what is posted to it, and answers after the commit."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Self

import structlog
from aiohttp import web

from edgerouter.errors import ConfigurationError, Unavailable
from edgerouter.http_server.connections import Connection, Times
from edgerouter.http_server.doorkeeper import Doorkeeper
from edgerouter.http_server.handshakes import accepting
from edgerouter.http_server.listen import host_of, tcp_listener
from edgerouter.http_server.tls import ServerIdentity
from edgerouter.source import Delivery, Source, SourceContext
from edgerouter.sources.http.config import HttpSourceConfig
from edgerouter.sources.http.requests import Requests
from edgerouter.sources.http.waiting import WaitingRoom
from edgerouter.weak_points import warn, weak_points

_LEAST_BACKLOG: Final = 256
_BUFFER_BYTES: Final = 64 * 1024
_CLOSING_SECONDS: Final = 2.0
"""Time to write the last answers."""

log = structlog.get_logger("edgerouter.http")


class HttpSource(Source[HttpSourceConfig]):
    """Serves HTTP; requests are gathered into deliveries, and answered after the commit."""

    def __init__(self, waiting: WaitingRoom, stop: Callable[[], object] = lambda: None) -> None:
        self.waiting = waiting
        self._stop_accepting = stop

    @classmethod
    @asynccontextmanager
    async def open(cls, config: HttpSourceConfig, context: SourceContext) -> AsyncIterator[Self]:
        """Listen; leaving answers what is stored, and closes.

        Raises:
            Unavailable: the address is not one of this machine, or in use.
        """
        doorkeeper = Doorkeeper(config.max_connections)
        requests = Requests(config, context, doorkeeper.open)
        if context.probe:
            # `check --connect` must not take the port away from a router that runs
            context.connected(True, "")
            yield cls(requests.waiting)
            return
        listener, tls = await asyncio.to_thread(_prepare, config)
        handler = web.Server(requests.answer)
        times = Times(config.head_timeout, config.body_timeout, config.idle_timeout)
        make = partial(Connection, handler, asyncio.get_running_loop(), doorkeeper, times)
        most = config.max_connections
        async with accepting(make, listener, tls, most=most, seconds=config.head_timeout, backlog=_backlog(config)) as stop:
            _warn(config, context.name)
            context.connected(True, "")
            try:
                yield cls(requests.waiting, stop)
            finally:
                stop()
                requests.waiting.close()
                handler.pre_shutdown()  # idle connections end at once, others with their answer
                await handler.shutdown(_CLOSING_SECONDS)

    def deliveries(self) -> AsyncIterator[Delivery]:
        return self.waiting.deliveries()

    def stop(self) -> None:
        """Accept no more connections, and refuse further requests."""
        self.waiting.inbox.stop()
        self._stop_accepting()


def _backlog(config: HttpSourceConfig) -> int:
    """Return the number of connections that may wait to be accepted; a client beyond it tries again after a second or more."""
    return max(_LEAST_BACKLOG, config.max_connections)


def _prepare(config: HttpSourceConfig) -> tuple[socket.socket, ServerIdentity | None]:
    """Open the listening socket and read the certificates. Blocks: not for the event loop."""
    try:
        tls = None if config.tls is None else ServerIdentity(config.tls)
        listener = tcp_listener(config.listen, "listen", backlog=_backlog(config))
    except (ConfigurationError, ValueError) as error:
        raise Unavailable(str(error)) from None
    listener.setblocking(False)
    # of each connection: one that sends much at once cannot fill the memory, and one that reads no answers is noticed soon
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    return listener, tls


def _warn(config: HttpSourceConfig, name: str) -> None:
    secret = "token of clients" if config.tokens else ""
    points = weak_points(
        host_of(config.listen), encrypted=config.tls is not None, insecure=False, secret=secret, instead="`tls`, and https://"
    )
    if config.anonymous and not config.local and not config.tokens:
        points.append("`anonymous` lets every device of the network write")
    warn(points, log, name, config.listen)
