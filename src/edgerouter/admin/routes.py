"""Routes of the admin server: path, the right that one asks for, and the function that answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import msgspec
from aiohttp import web

from edgerouter.admin.access import Caller, Door, Need
from edgerouter.http_server.slow_readers import PatientConnection

Handle = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route."""

    method: str
    path: str
    need: Need
    handle: Handle
    streams: bool = False
    """True for an answer that does not end."""


def json_response(value: object, status: int = 200) -> web.Response:
    """Return a JSON answer."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def guarded(route: Route, door: Door) -> web.RouteDef:
    """Return the route for one listener, whose door admits the callers."""

    async def handle(request: web.Request) -> web.StreamResponse:
        caller = await door.admit(request, route.need)
        if not request.can_read_body:
            connection_of(request).answering()
        return await route.handle(request, caller)

    if route.method == "GET":
        return web.get(route.path, handle, allow_head=not route.streams)
    return web.route(route.method, route.path, handle)


async def received(request: web.Request) -> bytes:
    """Return the body of a request; the caller has been admitted."""
    body = await request.read()
    connection_of(request).answering()
    return body


def connection_of(request: web.BaseRequest) -> PatientConnection:
    """Return the connection that a request came on."""
    return cast("PatientConnection", request.protocol)
