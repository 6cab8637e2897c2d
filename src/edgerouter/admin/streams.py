"""Server-sent events: answers that do not end, bounded in number and in what a slow reader holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec
from aiohttp import web

from edgerouter.admin.open_streams import OpenStreams
from edgerouter.admin.routes import connection_of
from edgerouter.http_server.problems import Problem

MOST_STREAMS: Final = 32
"""At once, on all listeners; other requests keep the rest of the connections."""
HEARTBEAT_SECONDS = 10.0
"""Between two signs of life; a client that is gone without a word is noticed by them."""
STALLED_SECONDS = 30.0
"""Time for reading what has been sent; then the stream ends."""


@asynccontextmanager
async def stream_of(request: web.Request, streams: OpenStreams) -> AsyncIterator[Stream]:
    """Begin a stream; it ends with the context, which the client, or the end of the server, makes it leave.

    Args:
        request: asks for it.
        streams: those that are open.

    Raises:
        Problem: there are too many.
    """
    if len(streams) >= MOST_STREAMS:
        text = f"{MOST_STREAMS} streams are open, and there are no more: close one, or ask for pages"
        raise Problem(503, text, retry_after=HEARTBEAT_SECONDS)
    stream = Stream(request)
    streams.add(stream)
    connection = connection_of(request)
    connection.when_lost = stream.end
    try:
        await stream.response.prepare(request)
        yield stream
    except (ConnectionError, TimeoutError):
        connection.abort()
    finally:
        streams.discard(stream)
        connection.when_lost = None


class Stream:
    """One answer of server-sent events."""

    def __init__(self, request: web.Request) -> None:
        headers = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        self.response = web.StreamResponse(headers=headers)
        self.response.force_close()
        self.ended = False
        """True once the client is gone, or the server stops."""
        self.news = asyncio.Event()
        """Set when there is something to send, and at the end."""
        self._request = request

    def end(self) -> None:
        """Leave the stream at the next opportunity."""
        self.ended = True
        self.news.set()

    async def wait(self) -> bool:
        """Wait for news, with signs of life meanwhile; return false at the end."""
        while not self.ended:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self.news.wait()
                    break
            await self._write(b": alive\n\n")
        self.news.clear()
        return not self.ended

    async def send(self, data: object, *, number: int | None = None, kind: str = "") -> None:
        """Send one event.

        Args:
            data: sent as JSON on one line, so that no content of it is a line of the protocol.
            number: for `Last-Event-ID`.
            kind: type of the event; empty for the usual one.
        """
        head = b"" if number is None else b"id: %d\n" % number
        if kind:
            head += b"event: %s\n" % kind.encode()
        await self._write(head + b"data: " + msgspec.json.encode(data) + b"\n\n")

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(STALLED_SECONDS):
            await self.response.write(data)


def last_event_id(request: web.Request) -> int | None:
    """Return the number of the last event that a client has got before it lost the connection.

    Raises:
        Problem: it is not one of ours.
    """
    text = request.headers.get("Last-Event-ID")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Problem(400, "Last-Event-ID should be the id of an event")
    return int(text)
