"""Connections: bounded in number, in bytes of their headers, and in the time for heads, bodies and silence."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Final, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from edgerouter.http_server.doorkeeper import Doorkeeper
from edgerouter.http_server.problems import Problem

MOST_HEAD_BYTES: Final = 32 * 1024
"""Request line and headers; servers commonly allow 8 to 48 KiB."""
_BUFFER_BYTES: Final = 32 * 1024
"""Of a body that is received faster than it is read; aiohttp stops reading at twice as much."""
_LINGERING_SECONDS: Final = 1.0
"""Time for which the rest of a refused body is read, so that the client sees the answer before its connection breaks."""
_END: Final = b"\r\n\r\n"
_BLANKS: Final = (b"\r", b"\n")

log = structlog.get_logger("edgerouter.http")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that a client may take."""

    head: float
    body: float
    idle: float


class Connection(web.RequestHandler):
    """One connection: aiohttp's, with an end to every wait.

    Its timer fires when the earliest deadline has passed, and not for each request: a deadline that moves away costs nothing.
    """

    __slots__ = ("_clock", "_deadline", "_doorkeeper", "_fires_at", "_head", "_head_bytes", "_tail", "_timer", "_times", "waits")

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, doorkeeper: Doorkeeper, times: Times) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=times.idle,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's runners pass None, too: it writes no access log
            lingering_time=_LINGERING_SECONDS,
            read_bufsize=_BUFFER_BYTES,
            auto_decompress=False,
        )
        self.waits = True
        self._clock = loop.time
        self._doorkeeper = doorkeeper
        self._times = times
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = self._deadline = math.inf
        self._head = True
        """True until the end of a head has arrived."""
        self._head_bytes = 0
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._doorkeeper.admit(self):
            cast("asyncio.Transport", transport).abort()
            return
        super().connection_made(transport)
        self._end_at(self._times.head)

    def data_received(self, data: bytes) -> None:
        if self._head:
            self._count_head(data)
        super().data_received(data)

    def _count_head(self, data: bytes) -> None:
        seen = self._tail + data
        if not self._head_bytes and seen.startswith(_BLANKS):
            # blank lines before a request, which the parser skips, would pass for the end of a head
            if self._deadline == math.inf:
                self._end_at(self._times.head)
            seen = data = seen.lstrip(b"\r\n")
            if not data:
                return
        if _END in seen:
            self._tail = b""
            self._head = False
            return
        if not self._head_bytes:
            self._end_at(self._times.head)
        self._head_bytes += len(data)
        self._tail = seen[-len(_END) + 1 :]
        if self._head_bytes > MOST_HEAD_BYTES:
            self.abort()

    def pause_writing(self) -> None:
        """End a connection whose client reads no answers: they are small, and would pile up here."""
        self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def receiving(self) -> None:
        """The head is complete, and the body is awaited."""
        self._head = False
        self._end_at(self._times.body)

    def answering(self) -> None:
        """The request is complete: nothing is expected of the client."""
        self._head = self.waits = False
        self._deadline = math.inf

    def answered(self) -> None:
        """The next request may come, or silence, which aiohttp ends."""
        self._head = self.waits = True
        self._head_bytes = 0
        self._deadline = math.inf
        if self.transport is not None:
            self._doorkeeper.begins_to_wait(self)

    def abort(self) -> None:
        """End the connection now."""
        self._leave()
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer a malformed request, which is the client's fault and not logged, or a bug, which is."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has been sent already")
        if isinstance(exc, HttpProcessingError):
            problem = Problem(status, f"not a valid request: {(message or exc.message).partition(chr(10))[0][:200]}")
        else:
            log.error("a request failed", exc_info=exc)
            problem = Problem(500, "the request failed: the log of the router says why")
        response = problem.response()
        response.force_close()
        return response

    def log_exception(self, *_: object, **_named: object) -> None:
        """Log nothing: bugs are logged where they are answered, and a client that disconnects at a bad moment causes the rest."""

    def _end_at(self, seconds: float) -> None:
        self._deadline = at = self._clock() + seconds
        if at < self._fires_at:
            if self._timer is not None:
                self._timer.cancel()
            self._set_timer(at)

    def _set_timer(self, at: float) -> None:
        self._fires_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._time_over)

    def _time_over(self) -> None:
        self._timer = None
        self._fires_at = math.inf
        if self._clock() >= self._deadline:
            self.abort()
        elif self._deadline < math.inf:
            self._set_timer(self._deadline)

    def _leave(self) -> None:
        self._doorkeeper.leave(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
