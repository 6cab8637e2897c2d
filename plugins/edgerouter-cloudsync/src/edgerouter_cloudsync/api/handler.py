"""The handler that lets callers in and gives each call its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

import msgspec
from aiohttp import StreamReader, web

from edgerouter import Unavailable
from edgerouter.http_server.serving import complete, invite
from edgerouter_cloudsync.api.access import Access
from edgerouter_cloudsync.api.answers import Answer, Refusal, not_active, not_json, to_publish, too_large, too_much
from edgerouter_cloudsync.api.calls import Calls
from edgerouter_cloudsync.api.openapi import BASE, document
from edgerouter_cloudsync.api.tokens import Verifier

_BODY_SECONDS: Final = 10.0
"""Time for a whole body."""
MOST_HELD_BYTES: Final = 16 * 1024**2
"""Bytes of all bodies that are still coming."""
_PUBLISH: Final = f"{BASE}/publish"
_DATA: Final = f"{BASE}/getsubscribedata/"


class Api:
    """Answers requests.

    Args:
        calls: the calls.
        access: decides about callers by their address.
        verifier: decides about callers by their token; `None` = no tokens.
        health: returns the state of the brokers.
        active: answer calls at all.
        legacy: give CloudSync's statuses.
        most_body_bytes: bytes of the largest body.
    """

    def __init__(
        self,
        calls: Calls,
        access: Access,
        verifier: Verifier | None,
        health: Callable[[], Answer],
        *,
        active: bool,
        legacy: bool,
        most_body_bytes: int,
    ) -> None:
        self._access = access
        self._verifier = verifier
        self._active = active
        self._legacy = legacy
        self._most = most_body_bytes
        self._held = 0
        self._calls = calls
        self._health = health
        self._posts = {
            f"{BASE}/{name}": call
            for name, call in (
                ("publish", calls.publish),
                ("subscribe", calls.subscribe),
                ("unsubscribe", calls.unsubscribe),
                ("disconnect", calls.disconnect),
            )
        }
        self._document = msgspec.json.encode(document(tokens=verifier is not None))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            answer = await self._answer(request)
        except Refusal as refusal:
            answer = refusal.answer
        except Unavailable as error:
            answer = Answer(503, f"Error in subscribing the data {error}", headers={"Retry-After": "5"})
        if isinstance(answer, web.Response):
            return answer
        if request.rel_url.raw_path == _PUBLISH:
            answer = to_publish(answer)
        return answer.response(legacy=self._legacy)

    async def _answer(self, request: web.BaseRequest) -> Answer | web.Response:
        self._access.check(request)
        path = request.rel_url.raw_path
        post = self._posts.get(path)
        if self._verifier is not None:
            self._verifier.check(request.headers.get("Authorization"), publishing=path == _PUBLISH)
        if post is None and not self._reads(path):
            return Answer(404, "There is no such call", {"Detail": f"see {BASE}/openapi.json"}, legacy=404)
        if request.method != ("POST" if post is not None else "GET"):
            allowed = "POST" if post is not None else "GET"
            return Answer(405, f"This call is a {allowed}", legacy=405, headers={"Allow": allowed})
        if not self._active:
            raise not_active()
        if post is not None:
            return await post(await self._body(request))
        return self._read(request, path)

    def _reads(self, path: str) -> bool:
        return path.startswith(_DATA) or path in (f"{BASE}/subscriptions", f"{BASE}/health", f"{BASE}/openapi.json")

    def _read(self, request: web.BaseRequest, path: str) -> Answer | web.Response:
        if path.startswith(_DATA):
            return self._calls.latest([unquote(each) for each in path.removeprefix(_DATA).split("/")])
        if path.endswith("/subscriptions"):
            return self._calls.subscriptions(request.query.get("appid"))
        if path.endswith("/health"):
            return self._health()
        return web.Response(body=self._document, content_type="application/json")

    async def _body(self, request: web.BaseRequest) -> bytes:
        if (request.content_length or 0) > self._most:
            raise too_large(self._most)
        await invite(request)
        content = request.content
        try:
            # most bodies come with the head, and need no time-out
            body = content.read_nowait() if content.is_eof() else await self._received(content)
        except TimeoutError:
            raise Refusal(Answer(408, "The request is incomplete", legacy=408)) from None
        except (web.RequestPayloadError, ConnectionError):
            raise not_json("the body ended before its end") from None
        if len(body) > self._most:
            raise too_large(self._most)
        complete(request)
        return body

    async def _received(self, content: StreamReader) -> bytes:
        """Return a body that is still coming, or so much of it that it is too large."""
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                async for piece in content.iter_any():
                    self._held += len(piece)
                    body += piece
                    if len(body) > self._most:
                        break
                    if self._held > MOST_HELD_BYTES:
                        raise too_much()
        finally:
            self._held -= len(body)
        return bytes(body)
