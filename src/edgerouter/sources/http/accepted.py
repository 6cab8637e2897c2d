"""The answer to a stored request, made once and written in one piece: nearly all answers are this one."""

from __future__ import annotations

import time
from email.utils import formatdate

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter


class Accepted(web.StreamResponse):
    """202 without a body on a connection that stays open. It holds nothing of a request, so all requests share it."""

    def __init__(self) -> None:
        super().__init__(status=202)
        self._second = 0
        self._bytes = b""

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the whole answer."""
        transport = request.transport
        if transport is not None:
            transport.write(self._as_bytes())
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has written everything."""

    def _as_bytes(self) -> bytes:
        now = int(time.time())
        if now != self._second:
            date = formatdate(now, usegmt=True)
            self._second = now
            self._bytes = f"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nDate: {date}\r\nServer: edgerouter\r\n\r\n".encode()
        return self._bytes


def stays_open(request: web.BaseRequest) -> bool:
    """True if the answer may be `Accepted`: of an HTTP/1.0 client it would need a header more."""
    return request.version >= HttpVersion11 and request.keep_alive
