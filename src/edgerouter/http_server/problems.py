"""Answers to requests that store nothing: problem details as JSON (RFC 9457), with a text that says what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

_MOST_CHARACTERS: Final = 500
"""Of an explanation, which may hold a part of the request."""


class Problem(Exception):
    """The reason for a refusal.

    Args:
        status: the status code.
        detail: explanation, with what to do.
        retry_after: seconds for `Retry-After`.
        headers: further headers.
        close: end the connection after the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.close = close
        self.headers = {"Server": "edgerouter", **(headers or {})}
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))

    def response(self) -> web.Response:
        """Return the answer."""
        content = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail[:_MOST_CHARACTERS],
        }
        response = web.Response(
            status=self.status, body=msgspec.json.encode(content), content_type="application/problem+json", headers=self.headers
        )
        if self.close:
            response.force_close()
        return response


async def invite(request: web.BaseRequest) -> None:
    """Ask for the body of a client that waits for `100 Continue`; every other client sends it unasked.

    Raises:
        Problem: 417; the client expects something else.
    """
    expected = request.headers.get("Expect")
    if expected is None:
        return
    if expected.lower() != "100-continue":
        raise Problem(417, "the only expectation known is 100-continue")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # no answer has been sent yet
