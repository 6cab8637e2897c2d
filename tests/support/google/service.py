"""A Google service over HTTP: routes, authentication, and Google's error bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from aiohttp import web

from edgerouter.testing import HttpSinkServer
from support.google.identity import Identity

Handler = Callable[[web.BaseRequest, bytes, dict[str, str]], Awaitable[web.StreamResponse]]

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class GoogleError(Exception):
    """An answer that is not 2xx, in the form of google.rpc.Status."""

    def __init__(self, status: int, text: str, *, code: str = "", details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code or _STATUS.get(status, "UNKNOWN")
        self.text = text
        self.details = details or []

    def body(self) -> dict[str, Any]:
        """Return the JSON of the answer."""
        told: dict[str, Any] = {"code": self.status, "message": self.text, "status": self.code}
        if self.details:
            told["details"] = self.details
        return {"error": told}


class GoogleService(HttpSinkServer):
    """Base of the doubles. Without an `identity` the service requires no credentials, as emulators do."""

    def __init__(self, identity: Identity | None = None) -> None:
        super().__init__()
        self.identity = identity
        self.routes: list[tuple[str, re.Pattern[str], Handler]] = []
        self.script: list[GoogleError] = []
        """Answers to the next requests that carry messages, in order."""
        self.refuse_all: GoogleError | None = None
        """Answer to every request."""
        self.seen: list[web.BaseRequest] = []
        """All requests, for inspection of their headers."""

    def route(self, method: str, pattern: str, handler: Handler) -> None:
        """Add a route; `pattern` is a regular expression with named groups, matched against the raw path."""
        self.routes.append((method, re.compile(pattern), handler))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        request._client_max_size = 0  # the services check their limits themselves
        self.seen.append(request)
        return await super()._handle(request)

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        try:
            if self.refuse_all is not None:
                return self.error(self.refuse_all)
            if self.script and self.carries_messages(request):
                return self.error(self.script.pop(0))
            path = request.rel_url.raw_path
            for method, pattern, handler in self.routes:
                if method == request.method and (match := pattern.fullmatch(path)):
                    return await handler(request, body, match.groupdict())
        except GoogleError as error:
            return self.error(error)
        return self.error(GoogleError(404, f"no such method: {request.method} {path}"))

    def error(self, error: GoogleError) -> web.Response:
        """Build the answer for an error."""
        return web.json_response(error.body(), status=error.status)

    def need(self, request: web.BaseRequest, permission: str, resource: str) -> None:
        """Refuse unauthenticated or unauthorised callers."""
        if self.identity is None:
            return
        if permission not in self.permissions(request, resource):
            raise GoogleError(403, f"User not authorized to perform this action: {permission} on {resource}.")

    def permissions(self, request: web.BaseRequest, resource: str) -> set[str]:
        """Return the caller's permissions on a resource; refuse unauthenticated callers."""
        assert self.identity is not None
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        who = self.identity.owner_of(value) if scheme == "Bearer" else None
        if who is None:
            raise GoogleError(
                401,
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
                "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
                details=[{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_EXPIRED"}],
            )
        return self.identity.permissions_of(who, resource)

    # Google's error bodies for the conformance suite

    def broken(self) -> web.Response:
        return self.error(GoogleError(503, "The service was unable to fulfill your request. Please try again."))

    def throttled(self, seconds: float) -> web.Response:
        retry_info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds:g}s"}
        return self.error(
            GoogleError(429, "Quota exceeded for quota metric 'Regional publisher throughput, kB'", details=[retry_info])
        )

    def refused(self) -> web.Response:
        return self.error(GoogleError(403, "User not authorized to perform this action."))


def strict_json(body: bytes, known: set[str], where: str = "") -> dict[str, Any]:
    """Parse a JSON object without unknown keys."""
    try:
        value = json.loads(body)
    except ValueError:
        invalid("Invalid JSON payload received. Unexpected token.")
    if not isinstance(value, dict):
        invalid('Invalid JSON payload received. Unknown name "": Root element must be a message.')
    only(value, known, where)
    return value


def only(value: dict[str, Any], known: set[str], where: str) -> None:
    """Refuse unknown keys, as Google's JSON parser does."""
    for name in value.keys() - known:
        invalid(f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.')


def invalid(text: str) -> NoReturn:
    """Raise 400 INVALID_ARGUMENT."""
    raise GoogleError(400, text)
