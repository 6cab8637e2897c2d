"""Endpoint of the events: a page of what happened, or what happens from now on."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from edgerouter.admin.api.endpoint import Call
from edgerouter.admin.streams import last_event_id, stream_of
from edgerouter.telemetry.events import MOST_EVENTS, Event

Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class EventsAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of events."""

    after: Number | None = None
    """Only events above this id. Without it a page begins with the oldest event, and a stream with the next one."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_EVENTS)] = 100


class EventsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events, oldest first."""

    items: list[Event]
    next: int
    """`after` of the next page; the page after the last event is empty."""
    missed: int
    """Events above `after` that the router does not hold any more."""


async def page(call: Call) -> EventsPage:
    """Return a page of events."""
    asked: EventsAsked = call.asked
    events = call.router.events
    found = events.after(asked.after or 0, asked.limit)
    last = found.events[-1].id if found.events else min(asked.after or 0, events.last)
    return EventsPage(items=found.events, next=last, missed=0 if asked.after is None else found.missed)


async def stream(call: Call) -> web.StreamResponse:
    """Send events as they happen; each client has its own place in the one bounded record, and no queue."""
    asked: EventsAsked = call.asked
    events = call.router.events
    resumed = last_event_id(call.request)
    at = resumed if resumed is not None else events.last if asked.after is None else asked.after
    async with stream_of(call.request, call.router.streams) as opened:
        with events.listening(opened.news):
            opened.news.set()
            while await opened.wait():
                found = events.after(at, asked.limit)
                if found.missed:
                    await opened.send({"events": found.missed}, kind="missed")
                for event in found.events:
                    await opened.send(event, number=event.id)
                if found.events:
                    at = found.events[-1].id
                    opened.news.set()  # there may be more
    return opened.response
