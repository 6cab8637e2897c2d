"""Bodies: received within the bounds in bytes, decompressed within the same bound, and split into payloads."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web

from edgerouter.http_server.problems import Problem, invite
from edgerouter.sources.http.targets import Form

_GZIP: Final = 31
"""`wbits` of zlib for gzip."""
_CODINGS: Final = ("gzip", "x-gzip", "identity")
_VALUES_A_MESSAGE: Final = 16
"""Commas for each allowed message of an array: a longer list of tiny values would take many times its size in memory."""


class Bodies:
    """Receives bodies; what is received and not handed on counts against a bound shared with what waits to be stored.

    Args:
        most: largest body in bytes.
        most_messages: most messages of one.
        room: returns the bytes that may still be held.
    """

    def __init__(self, most: int, most_messages: int, room: Callable[[], int]) -> None:
        self.held = 0
        """Bytes of bodies that are not complete yet."""
        self._most = most
        self._most_messages = most_messages
        self._room = room
        self._array = msgspec.json.Decoder(list[msgspec.Raw])
        self._any = msgspec.json.Decoder(msgspec.Raw)

    async def receive(self, request: web.BaseRequest) -> bytes:
        """Return the whole body, decompressed.

        Raises:
            Problem: it is too large, incomplete, or compressed in another way than with gzip.
        """
        headers = request.headers
        length = headers.get("Content-Length")
        if length is not None and int(length) > self._most:
            raise self._too_large()
        if length is None and headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
            raise Problem(501, "the only transfer coding known is chunked; compress with Content-Encoding: gzip", close=True)
        coding = headers.get("Content-Encoding")
        if coding is not None and ", ".join(headers.getall("Content-Encoding")).strip().lower() not in _CODINGS:
            raise Problem(415, "send the body as it is, or with Content-Encoding: gzip", headers={"Accept-Encoding": "gzip"})
        if "Expect" in headers:
            await invite(request)
        content = request.content
        try:
            body: bytes = await content.readany()
            if not content.at_eof():
                pieces, body = [body], b""
                body = await self._rest(request, pieces)
        except (web.RequestPayloadError, ConnectionError):
            raise Problem(400, "the body ended before its end: send it again") from None
        if len(body) > self._most:
            raise self._too_large()
        if coding is not None and "gzip" in coding.lower():
            body = self._decompress(body)
        if self._room() < len(body):
            raise no_room()
        return body

    async def _rest(self, request: web.BaseRequest, pieces: list[bytes]) -> bytes:
        # joined at the end: hundreds of buffers that grow side by side would leave the heap in fragments
        held = len(pieces[0])
        self.held += held
        try:
            while piece := await request.content.readany():
                pieces.append(piece)
                held += len(piece)
                self.held += len(piece)
                if held > self._most:
                    raise self._too_large()
                if self._room() < 0:
                    raise no_room()
            return b"".join(pieces)
        finally:
            self.held -= held
            # the traceback of a lost connection is part of a cycle, and would keep the body until a full garbage collection
            pieces.clear()
            piece = b""

    def _decompress(self, body: bytes) -> bytes:
        try:
            inflate = zlib.decompressobj(_GZIP)
            plain = inflate.decompress(body, self._most + 1)
        except zlib.error:
            raise Problem(400, "the body is not gzip, as Content-Encoding says") from None
        if len(plain) > self._most:
            raise self._too_large()
        if not inflate.eof or inflate.unused_data:
            raise Problem(400, "the body is not one whole gzip stream")
        return plain

    def _too_large(self) -> Problem:
        text = f"a body has at most {self._most} bytes (`max_body_bytes`): send less at once"
        return Problem(413, text, close=True)

    def split(self, body: bytes, form: Form) -> list[bytes]:
        """Return the payloads of a body.

        Raises:
            Problem: it is not what it should be, or holds no message or too many.
        """
        if form == "one":
            return [body]
        payloads = self._lines(body) if form == "lines" else self._elements(body)
        if not payloads:
            raise Problem(400, "the batch holds no message")
        if len(payloads) > self._most_messages:
            raise self._too_many()
        return payloads

    def _elements(self, body: bytes) -> list[bytes]:
        if body.count(b",") > self._most_messages * _VALUES_A_MESSAGE:
            raise self._too_many()
        try:
            return [bytes(element) for element in self._array.decode(body)]
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Problem(400, f"with batch=array the body is a JSON array of messages: {error}") from None

    def _lines(self, body: bytes) -> list[bytes]:
        if body.count(b"\n") > 2 * self._most_messages:
            raise self._too_many()
        payloads = []
        for number, line in enumerate(body.split(b"\n"), 1):
            if payload := line.strip():
                try:
                    self._any.decode(payload)
                except (msgspec.MsgspecError, RecursionError) as error:
                    raise Problem(400, f"line {number} is not JSON, so nothing is stored: {error}") from None
                payloads.append(payload)
        return payloads

    def _too_many(self) -> Problem:
        return Problem(413, f"a batch has at most {self._most_messages} messages (`max_batch_messages`): send less at once")


def no_room() -> Problem:
    """Return the refusal of a body while too many bytes wait to be stored."""
    return Problem(503, "too much waits to be stored: send it again later", retry_after=1)
