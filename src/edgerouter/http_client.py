"""Bounds what a server can do to an HTTP client: interim answers and headers are counted as they arrive.

aiohttp reads interim answers (`100 Continue`, `103 Early Hints`) in an endless loop, and parses everything that one read returns
before anything else runs. A server that sends nothing else therefore blocks the event loop, and no timeout fires. `bounded` makes
the connections of any connector count as they read, including those of sessions that an SDK creates:

```python
async with aiohttp.ClientSession(connector=bounded(aiohttp.TCPConnector()), headers=PLAIN) as session:
    async with session.post(url, data=body) as response:
        text = await beginning(response, 64 * 1024)
```
"""

from __future__ import annotations

import asyncio
import re
import time
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError

__all__ = ["PLAIN", "UnboundedAnswer", "beginning", "bounded", "explain_plain_port", "retry_seconds"]

MOST_INTERIM: Final = 100
"""Interim answers allowed per request: a server that sends 102 Processing every second may do so for longer than any timeout."""
MOST_HEAD_BYTES: Final = 64 * 1024
"""Status lines and headers of all answers to one request, including interim ones; servers commonly allow 8 to 48 KiB."""
PLAIN: Final = {"Accept-Encoding": "identity"}
"""Header for requests that do not need a compressed answer: an uncompressed one cannot expand."""

_HEAD_PIECE: Final = 4 * 1024
_BODY_PIECE: Final = 16 * 1024
"""Bytes parsed at a time: unsolicited answers in a piece of this size keep the parser busy for a few milliseconds."""
_END_OF_HEAD: Final = b"\r\n\r\n"
_NUMBER: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*")
_NOT_TLS: Final = re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST")
"""OpenSSL's names for an answer that is not TLS."""

ConnectorT = TypeVar("ConnectorT", bound=aiohttp.BaseConnector)


class UnboundedAnswer(HttpProcessingError):
    """Too much data before the body of an answer; the cause of an `aiohttp.ClientResponseError`."""

    def __init__(self, message: str) -> None:
        super().__init__(code=502, message=message)


def bounded(connector: ConnectorT, *, most_body: int | None = None) -> ConnectorT:
    """Bound the data that a server may send before the body of its answer, on every connection made by the connector from now on.

    A request whose answer exceeds `MOST_INTERIM` interim answers or `MOST_HEAD_BYTES` of status lines and headers raises
    `aiohttp.ClientResponseError` (its `__cause__` is an `UnboundedAnswer`), and the connection is closed. Bytes after the end of an
    answer, such as a body after 204, are not parsed as a second answer: the first one stands, and the connection closes.

    Args:
        connector: modified in place.
        most_body: approximate limit of an answer's body as received; reading more raises `aiohttp.ClientPayloadError`. For clients
            that read whole answers, as SDKs do.

    Returns:
        The same connector.
    """
    # aiohttp has no public way to choose a connector's protocol class; a test checks that every client of the router uses this
    connector._factory = partial(_BoundedResponses, connector._loop, most_body)  # type: ignore[assignment]  # noqa: SLF001
    return connector


async def beginning(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Read at most about `most` bytes of an answer's body, as received; the rest is never read.

    Raises:
        aiohttp.ClientError: the connection broke before the end of the body.
    """
    body = bytearray()
    while len(body) < most and (more := await response.content.read(most - len(body))):
        body += more
    return bytes(body)


def retry_seconds(value: str | None) -> float | None:
    """Return the seconds to wait that a header `Retry-After` asks for, as a number or a date; `None` if it asks for none."""
    if value is None:
        return None
    if match := _NUMBER.fullmatch(value):
        return float(match[1])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def explain_plain_port(error: BaseException) -> str:
    """Return the explanation of a TLS error that a server without TLS causes; empty for any other error."""
    return "does not speak TLS on this port; is it http:// and not https://?" if _NOT_TLS.search(str(error)) else ""


class _BoundedResponses(ResponseHandler):
    """Parses answers in pieces, to detect in time an answer that does not end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most_body: int | None = None) -> None:
        super().__init__(loop)
        self._most_body = most_body
        self._expect_answer()

    def _expect_answer(self) -> None:
        self._interim = 0
        self._head_bytes = self._body_bytes = 0
        self._head_end = b""  # up to three bytes that may be the start of the end of a head
        self._answered = False

    def set_response_params(self, **params: Any) -> None:
        self._expect_answer()
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Count and queue a parsed head; the reader of the queue discards interim ones."""
        if 100 <= data[0].code <= 199 and data[0].code != 101:
            self._interim += 1
        else:
            self._answered = True
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes received, as far as they belong to the answer."""
        # not HTTP, or not yet; without data the parser continues with its buffer
        if self._parser is None or self._upgraded or self._payload_parser is not None or not data:
            super().data_received(data)
            return
        position = 0
        while position < len(data) and self.transport is not None and self._exception is None:
            end = self._end_of_piece(data, position)
            if self._answered and (self._payload is None or self._payload.is_eof()):
                # the answer is complete: the rest would be parsed as a second one and corrupt the first
                self.force_close()
                self.transport.close()
                return
            super().data_received(data[position:end])
            if not self._answered:
                self._count_head(end - position)
            elif self._most_body is not None:
                self._count_body(end - position)
            position = end

    def _end_of_piece(self, data: bytes, position: int) -> int:
        if self._reading_paused:
            return len(data)  # the parser buffers it, and the transport is paused
        if self._answered:
            return min(position + _BODY_PIECE, len(data))
        end = min(position + _HEAD_PIECE, len(data))
        before = self._head_end
        found = (before + data[position:end]).find(_END_OF_HEAD)
        if found >= 0:
            end = position + found + len(_END_OF_HEAD) - len(before)
            self._head_end = b""
        else:
            self._head_end = (before + data[position:end])[-len(_END_OF_HEAD) + 1 :]
        return end

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._interim > MOST_INTERIM:
            self._refuse(f"more than {MOST_INTERIM} interim answers without a final one")
        elif self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(f"more than {MOST_HEAD_BYTES // 1024} KiB of headers")

    def _count_body(self, size: int) -> None:
        self._body_bytes += size
        payload = self._payload
        if self._body_bytes > (self._most_body or 0) and payload is not None and not payload.is_eof():
            payload.set_exception(aiohttp.ClientPayloadError(f"the answer exceeds {self._most_body} bytes"))
            if self.transport is not None:
                self.transport.abort()

    def _refuse(self, why: str) -> None:
        if self._exception is None:
            self.set_exception(UnboundedAnswer(why))
        if self.transport is not None:
            self.transport.abort()
