"""Accepts connections, with a bound of TLS handshakes: a connection counts for the doorkeeper only once its handshake has ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from edgerouter.http_server.tls import ServerIdentity

log = structlog.get_logger("edgerouter.http")

LOOK_SECONDS = 10.0
"""Time between two looks at the certificate files, each at a new connection."""
_PAUSE_SECONDS: Final = 0.1
"""After an accept that failed, as it does while no descriptor is free."""


class Handshakes:
    """Handshakes of one listener, oldest first; beyond the bound the oldest gives way.

    Args:
        make: makes the protocol of a connection.
        identity: certificate of the server; replaced files are read again.
        most: handshakes at once.
        seconds: time for one.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol], identity: ServerIdentity, *, most: int, seconds: float) -> None:
        self._make = make
        self._identity = identity
        self._looked = asyncio.get_running_loop().time()
        self._most = most
        self._seconds = seconds
        self._running: dict[asyncio.Task[None], None] = {}

    @asynccontextmanager
    async def accepting(self, listener: socket.socket) -> AsyncIterator[Callable[[], object]]:
        """Accept connections inside the context; yield the function that ends the accepting before."""
        accepting = asyncio.create_task(self._accept(listener), name="accept connections")
        try:
            yield accepting.cancel
        finally:
            tasks = [accepting, *self._running]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if loop.time() - self._looked >= LOOK_SECONDS:
                self._looked = loop.time()
                await self._renew()
            if len(self._running) >= self._most:
                oldest = next(iter(self._running))
                del self._running[oldest]
                oldest.cancel()
            task = loop.create_task(self._shake_hands(connection), name="TLS handshake")
            self._running[task] = None
            task.add_done_callback(self._ended)

    async def _renew(self) -> None:
        try:
            if await asyncio.to_thread(self._identity.renew):
                log.info("certificate files have changed, and are in use")
        except ValueError as error:
            log.warning("certificate files have changed, and are not usable: the ones before stay in use", reason=str(error))

    async def _shake_hands(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError, EOFError):  # ssl.SSLError and TimeoutError are among them
            await loop.connect_accepted_socket(
                self._make, connection, ssl=self._identity.context, ssl_handshake_timeout=self._seconds
            )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection could not be accepted", exc_info=error)


@asynccontextmanager
async def accepting(
    make: Callable[[], asyncio.Protocol],
    listener: socket.socket,
    tls: ServerIdentity | None,
    *,
    most: int,
    seconds: float,
    backlog: int,
) -> AsyncIterator[Callable[[], object]]:
    """Accept connections; yield the function that ends that before the context does, and close the listener at the end.

    Args:
        make: makes the protocol of a connection.
        listener: listens, and does not block.
        tls: certificate to present; `None` = none.
        most: TLS handshakes at once.
        seconds: time for one.
        backlog: connections that wait to be accepted.
    """
    if tls is not None:
        async with Handshakes(make, tls, most=most, seconds=seconds).accepting(listener) as stop:
            yield stop
        return
    # asyncio listens anew, for 100 by default
    server = await asyncio.get_running_loop().create_server(make, sock=listener, backlog=backlog)
    try:
        yield server.close
    finally:
        server.close()
