"""All endpoints of the admin API; routes and the OpenAPI document are made from this table."""

from __future__ import annotations

from typing import Any, Final

from edgerouter.admin.api import changing, events, reading, tap
from edgerouter.admin.api.endpoint import Call, Endpoint, route
from edgerouter.admin.api.openapi import document
from edgerouter.admin.api.steering import STEERING
from edgerouter.admin.control import Letter
from edgerouter.admin.routes import Route
from edgerouter.admin.running import RunningRouter
from edgerouter.admin.status import RouterStatus
from edgerouter.admin.tap.preview import Tapped
from edgerouter.telemetry.events import Event

_THERE: Final = {404: "There is none of this name"}
_FULL: Final = {503: "Too many streams are open"}


async def _described(_: Call) -> dict[str, Any]:
    return document(ENDPOINTS)


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(method="GET", path="/status", summary="Status of the whole router", run=reading.status, answer=RouterStatus),
    Endpoint(
        method="GET", path="/sources", summary="Sources", run=reading.sources, asks=reading.NamesAsked, answer=reading.SourcesPage
    ),
    Endpoint(
        method="GET", path="/sources/{name}", summary="One source", run=reading.source, answer=reading.Source, problems=_THERE
    ),
    Endpoint(method="GET", path="/sinks", summary="Sinks", run=reading.sinks, asks=reading.NamesAsked, answer=reading.SinksPage),
    Endpoint(method="GET", path="/sinks/{name}", summary="One sink", run=reading.sink, answer=reading.Sink, problems=_THERE),
    Endpoint(
        method="GET",
        path="/events",
        summary="Events: a page of what happened, or, as server-sent events, what happens",
        run=events.page,
        stream=events.stream,
        sends=Event,
        asks=events.EventsAsked,
        answer=events.EventsPage,
        problems=_FULL,
    ),
    Endpoint(
        method="GET",
        path="/tap",
        summary="A sample of the messages that pass, as server-sent events",
        stream=tap.stream,
        sends=Tapped,
        asks=tap.TapAsked,
        problems=_THERE | _FULL | {409: "The tap is off"},
        shows_payloads=True,
    ),
    Endpoint(
        method="GET",
        path="/certificates",
        summary="Certificate files that the configuration names",
        run=reading.certificates,
        asks=reading.NumbersAsked,
        answer=reading.CertificatesPage,
    ),
    Endpoint(
        method="GET",
        path="/configuration",
        summary="The configuration in effect: every value with its origin, secrets masked",
        run=reading.configuration,
        asks=reading.NumbersAsked,
        answer=reading.ConfigurationPage,
    ),
    Endpoint(
        method="GET",
        path="/version",
        summary="Versions of the program and its plugins",
        run=reading.version,
        answer=reading.Version,
    ),
    *STEERING,
    *changing.operations(),
    Endpoint(
        method="GET",
        path="/dead-letters/{number}",
        numbers=frozenset({"number"}),
        summary="One dead letter",
        run=changing.dead_letter,
        answer=Letter,
        problems=_THERE,
    ),
    Endpoint(method="POST", path="/reload", summary="Read the configuration again", run=changing.reload, answer=changing.Reloaded),
    Endpoint(method="GET", path="/log-level", summary="Level of the log", run=changing.log_level, answer=changing.LogLevel),
    Endpoint(
        method="PUT",
        path="/log-level",
        summary="Change the level of the log until the next start",
        run=changing.set_log_level,
        asks=changing.LogLevel,
        answer=changing.LogLevel,
    ),
    Endpoint(method="GET", path="/openapi.json", summary="This description", run=_described, answer=dict[str, Any]),
)


def api_routes(router: RunningRouter) -> list[Route]:
    """Return the routes of the API."""
    return [route(endpoint, router) for endpoint in ENDPOINTS]
