"""An endpoint of the admin API: its description, and the way from a request to an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_origin, get_type_hints

import msgspec
import structlog
from aiohttp import web

from edgerouter.admin.access import Caller, Need
from edgerouter.admin.control import Nothing, NotValid
from edgerouter.admin.routes import Route, json_response, received
from edgerouter.admin.running import RunningRouter
from edgerouter.errors import EdgerouterError
from edgerouter.http_server.problems import Problem
from edgerouter.masking import mask
from edgerouter.steering import NoSuchPart

log = structlog.get_logger("edgerouter.admin")

PREFIX: Final = "/api/v1"
EVENT_STREAM: Final = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was admitted and understood."""

    router: RunningRouter
    caller: Caller
    asked: Any
    """Arguments, of the type that the endpoint takes."""
    path: Mapping[str, str]
    """Parts of the path by name."""
    request: web.Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint."""

    method: Literal["GET", "POST", "PUT"]
    path: str
    """Below `/api/v1`; names of sinks and the like stand in braces."""
    summary: str
    answer: Any = None
    """Type of the JSON answer; `None` for an endpoint that only streams."""
    run: Callable[[Call], Awaitable[Any]] | None = None
    """Returns the answer; `None` for an endpoint that only streams."""
    asks: type[msgspec.Struct] = Nothing
    """Arguments: in the query of a GET, in the JSON body of others."""
    stream: Callable[[Call], Awaitable[web.StreamResponse]] | None = None
    """Answers with server-sent events where the caller accepts them."""
    sends: Any = None
    """Type of the events of the stream."""
    numbers: frozenset[str] = frozenset()
    """Names in the path that are numbers."""
    only_owner: bool = False
    """Not offered over TCP, and not in the OpenAPI document."""
    shows_payloads: bool = False
    """Needs a token over TCP, on loopback too."""
    problems: Mapping[int, str] = field(default_factory=dict, hash=False)
    """Status codes beside the usual ones."""

    @property
    def changes(self) -> bool:
        """True if it changes something, or takes work that a reader should not cause."""
        return self.method != "GET"

    @property
    def need(self) -> Need:
        """Right that it asks for."""
        if self.only_owner:
            return "owner"
        return "change" if self.changes else "payloads" if self.shows_payloads else "read"


def route(endpoint: Endpoint, router: RunningRouter) -> Route:
    """Return the route of an endpoint."""

    async def handle(request: web.Request, caller: Caller) -> web.StreamResponse:
        call = Call(router, caller, None, request.match_info, request)
        if not endpoint.changes:
            return await _answer(endpoint, call)
        try:
            answer = await _answer(endpoint, call)
        except Problem as problem:
            _record(call, f"refused with {problem.status}: {problem.detail}")
            raise
        _record(call, "done")
        return answer

    return Route(endpoint.method, PREFIX + endpoint.path, endpoint.need, handle, endpoint.stream is not None)


async def _answer(endpoint: Endpoint, call: Call) -> web.StreamResponse:
    try:
        asked = await _asked(endpoint, call.request)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Problem(400, f"{endpoint.method} {PREFIX}{endpoint.path}: {mask(str(error))}") from None
    call = Call(call.router, call.caller, asked, call.path, call.request)
    try:
        if endpoint.stream is not None and (endpoint.run is None or EVENT_STREAM in call.request.headers.get("Accept", "")):
            return await endpoint.stream(call)
        assert endpoint.run is not None, "an endpoint without it streams"
        return json_response(await endpoint.run(call))
    except NotValid as error:
        raise Problem(400, mask(str(error))) from None
    except NoSuchPart as error:
        raise Problem(404, mask(str(error))) from None
    except EdgerouterError as error:
        raise Problem(409, mask(str(error))) from None


async def _asked(endpoint: Endpoint, request: web.Request) -> msgspec.Struct:
    if not endpoint.changes:
        return msgspec.convert(_query(request, endpoint.asks), endpoint.asks, strict=False)
    body = await received(request)
    if body and request.content_type != "application/json":
        # a page of another origin can send other types without asking
        raise Problem(415, "send the body as application/json")
    return msgspec.json.decode(body or b"{}", type=endpoint.asks)


def _query(request: web.Request, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the query's values by name; a list where the type has one."""
    lists = {name for name, hint in get_type_hints(kind).items() if get_origin(hint) in (list, tuple)}
    query = request.query
    for name in query:
        if name not in lists and len(query.getall(name)) > 1:
            raise Problem(400, f"{name[:50]!r} stands in the query twice")
    return {name: query.getall(name) if name in lists else query[name] for name in query}


def _record(call: Call, result: str) -> None:
    request = call.request
    text = f"{request.method} {request.path}: {result}"
    log.info("change asked for over the admin API", by=call.caller.name, request=f"{request.method} {request.path}", result=result)
    call.router.events.add("change", "", text, by=call.caller.name)
