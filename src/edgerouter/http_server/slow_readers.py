"""Connections whose clients may read slowly: bounded in number, in time, and in the bytes of answers that wait to be read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

from edgerouter.http_server.connections import Connection, Times
from edgerouter.http_server.doorkeeper import Doorkeeper

ANSWER_SECONDS: Final = 30.0
"""Time for reading the next part of an answer."""
MOST_UNREAD_BYTES: Final = 8 * 1024**2
"""Answers of all connections that wait to be read; beyond it the connection that has not been read for the longest is closed."""


class Connections:
    """Makes the protocols of one listener.

    Args:
        server: answers the requests.
        most: connections at once.
        times: time for the parts of a request.
    """

    def __init__(self, server: web.Server, *, most: int, times: Times) -> None:
        self.doorkeeper = Doorkeeper(most)
        self.unread: dict[PatientConnection, None] = {}
        """Connections whose clients do not read, the longest first."""
        self._server = server
        self._times = times

    def __call__(self) -> PatientConnection:
        return PatientConnection(self, self._server, self._times)

    def bound_unread(self) -> None:
        """Close connections until the answers that wait to be read are within the bound."""
        while sum(connection.unread_bytes for connection in self.unread) > MOST_UNREAD_BYTES:
            next(iter(self.unread)).abort()


class PatientConnection(Connection):
    """One connection; a client that does not read its answer is closed after a while."""

    __slots__ = ("_connections", "_reading_timer", "when_lost")

    def __init__(self, connections: Connections, server: web.Server, times: Times) -> None:
        super().__init__(server, asyncio.get_running_loop(), connections.doorkeeper, times)
        self._connections = connections
        self._reading_timer: asyncio.TimerHandle | None = None
        self.when_lost: Callable[[], object] | None = None
        """Called when the client is gone, for answers that do not end."""

    @property
    def unread_bytes(self) -> int:
        """Bytes of answers that wait to be read."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def pause_writing(self) -> None:
        self._connections.unread[self] = None
        self._reading_timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.abort)
        web.RequestHandler.pause_writing(self)
        self._connections.bound_unread()

    def resume_writing(self) -> None:
        self._reads()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._reads()
        super().connection_lost(exc)
        if self.when_lost is not None:
            self.when_lost()

    def abort(self) -> None:
        """End the connection now."""
        self._reads()
        super().abort()

    def _reads(self) -> None:
        self._connections.unread.pop(self, None)
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
