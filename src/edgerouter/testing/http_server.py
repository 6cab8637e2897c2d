"""A service over HTTP with every fault that the suite knows; an author adds the service's own answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

from aiohttp import web

from edgerouter.testing.server import Received, SinkServer


class HttpSinkServer(SinkServer):
    """A fake of a service that is reached over HTTP.

    An author's subclass writes `answer`, which reads the messages of one request, appends them to `taken`, and answers; it calls
    `rejected(payload)` and `fails_now(payload)` if the service reports on single messages. It may replace
    `broken`, `throttled` and `refused` by the answers of the real service, and `carries_messages` if not every request does.
    """

    decompresses: ClassVar[bool] = True
    """True if the service undoes the Content-Encoding of a request; an object store keeps the bytes as they are."""

    def __init__(self) -> None:
        self.url = ""
        """`http://127.0.0.1:<port>`, once it runs."""
        self.taken: list[Received] = []
        self.rejected_marker: bytes | None = None
        self.failing_marker: bytes | None = None
        self._failed_once: set[bytes] = set()
        self._requests = 0
        self._lasting = ""
        self._throttle_seconds = 0.0
        self._next = ""
        self._healed = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    # Methods that an author writes

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer a request as the healthy service does."""
        raise NotImplementedError

    def carries_messages(self, request: web.BaseRequest) -> bool:
        """True if this request carries messages; others, such as those of opening, are affected only by `refuse`."""
        return request.method in {"POST", "PUT"}

    def broken(self) -> web.Response:
        """Answer of the service when it is broken."""
        return web.Response(status=500, text="internal error")

    def throttled(self, seconds: float) -> web.Response:
        """Answer of the service when it throttles."""
        return web.Response(status=429, text="slow down", headers={"Retry-After": str(int(seconds))})

    def refused(self) -> web.Response:
        """Answer of the service to an unauthorised caller."""
        return web.Response(status=403, text="forbidden")

    def rejected(self, payload: bytes) -> bool:
        """True if the service never accepts this payload."""
        return self.rejected_marker is not None and self.rejected_marker in payload

    def fails_now(self, payload: bytes) -> bool:
        """True if the service refuses this payload the first time; call it once for each message of a request."""
        if self.failing_marker is None or self.failing_marker not in payload or payload in self._failed_once:
            return False
        self._failed_once.add(payload)
        return True

    # Running the server

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen on a free port of 127.0.0.1 until the context exits."""
        server = web.Server(self._handle, request_factory=_unbounded, auto_decompress=self.decompresses)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            await self.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        carries = self.carries_messages(request)
        self._requests += carries
        disturbance = ""
        if carries:
            disturbance, self._next = self._next or self._lasting, ""
        if self._lasting == "refuse":
            disturbance = "refuse"
        if disturbance == "cut":
            return self._cut(request)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # no answer has been sent yet
        body = await request.read()
        if disturbance == "refuse":
            return self.refused()
        if disturbance == "fail":
            return self.broken()
        if disturbance == "throttle":
            return self.throttled(self._throttle_seconds)
        response = await self.answer(request, body)
        if disturbance == "lose":
            return self._cut(request)
        if disturbance == "stall":
            await self._healed.wait()
        return response

    def _cut(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    # Methods that the suite calls

    async def received(self) -> Sequence[Received]:
        return list(self.taken)

    async def requests(self) -> int:
        return self._requests

    async def connections(self) -> int:
        if self._runner is None or self._runner.server is None:
            return 0
        return len(self._runner.server.connections)

    async def fail(self) -> None:
        self._lasting = "fail"

    async def throttle(self, seconds: float) -> None:
        self._lasting, self._throttle_seconds = "throttle", seconds

    async def refuse(self) -> None:
        self._lasting = "refuse"

    async def reject(self, marker: bytes) -> None:
        self.rejected_marker = marker

    async def fail_once(self, marker: bytes) -> None:
        self.failing_marker = marker

    async def stall(self) -> None:
        self._lasting = "stall"
        self._healed.clear()

    async def lose_next_response(self) -> None:
        self._next = "lose"

    async def cut_next(self) -> None:
        self._next = "cut"

    async def heal(self) -> None:
        self._lasting = self._next = ""
        self.rejected_marker = self.failing_marker = None
        self._healed.set()

    async def stop(self) -> None:
        self._healed.set()
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()


def _unbounded(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """Build a request of any size: `answer` checks the service's limits."""
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=0)
