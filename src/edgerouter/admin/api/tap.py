"""Endpoint of the tap: a sample of the messages that pass, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import structlog
from aiohttp import web

from edgerouter.admin.api.endpoint import Call
from edgerouter.admin.control import NotValid
from edgerouter.admin.observation import begun
from edgerouter.admin.streams import HEARTBEAT_SECONDS, stream_of
from edgerouter.admin.tap.listener import Listener
from edgerouter.admin.tap.preview import Preview
from edgerouter.http_server.problems import Problem
from edgerouter.pipeline.tap import TapPoint
from edgerouter.steering import NoSuchPart
from edgerouter.topics import check_filter

log = structlog.get_logger("edgerouter.admin")

MOST_TAPS: Final = 4
"""At once; each looks at every list of its place, and masks what it shows."""
OFF: Final = "the tap is off, because it shows payloads: set `admin.tap.enabled: true` and restart the router; no message is lost"


class TapAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of messages."""

    topic: str = "#"
    """An MQTT topic filter."""
    sink: str | None = None
    """Only what goes to this sink; without it, what comes in from all sources, once it is stored."""
    after_steps: bool = False
    """As the steps of the sink leave it, when it is about to be written; without it, as it is stored."""


class TapMissed(msgspec.Struct, frozen=True, kw_only=True):
    """Data of an event `missed`."""

    messages: int
    """Messages that were left out, because more passed than one caller gets."""


async def stream(call: Call) -> web.StreamResponse:
    """Send samples until the client goes; the walk keeps nothing for it but a bounded number of them."""
    await begun(call.router.running)
    asked: TapAsked = call.asked
    point = _point(call, asked)
    config = call.router.config.admin.tap
    async with stream_of(call.request, call.router.streams) as opened:
        preview = Preview(config)
        listener = Listener(asked.topic, config, opened.news.set, asyncio.get_running_loop().time)
        with _recorded(call, asked, listener), point.tapped(listener.look):
            while await opened.wait():
                samples, missed = listener.take()
                if missed:
                    await opened.send(TapMissed(messages=missed), kind="missed")
                async with call.router.taps.masking:
                    shown = await asyncio.to_thread(preview.all, samples)
                for message in shown:
                    await opened.send(message)
    return opened.response


def _point(call: Call, asked: TapAsked) -> TapPoint:
    """Return the place on the walk that is asked for.

    Raises:
        NotValid: the arguments do not fit together.
        NoSuchPart: there is no such sink.
        Problem: the tap is off, or too many taps are open.
    """
    try:
        check_filter(asked.topic)
    except ValueError as error:
        raise NotValid(f"topic: {error}") from None
    if asked.after_steps and asked.sink is None:
        raise NotValid("`after_steps` needs `sink`: each sink has its own steps")
    router = call.router
    if not router.config.admin.tap.enabled:
        raise Problem(409, OFF)
    sinks = router.status().sinks
    if asked.sink is not None and asked.sink not in sinks:
        raise NoSuchPart("sink", asked.sink, sinks)
    if router.taps.open >= MOST_TAPS:
        raise Problem(503, f"{MOST_TAPS} taps are open, and there are no more: close one", retry_after=HEARTBEAT_SECONDS)
    if asked.sink is None:
        return router.taps.intake
    places = router.taps.sink(asked.sink)
    return places.after if asked.after_steps else places.before


@contextmanager
def _recorded(call: Call, asked: TapAsked, listener: Listener) -> Iterator[None]:
    """Log and record that a caller looks at messages, and at which."""
    what = f"messages that match {asked.topic}" + (", after the steps" if asked.after_steps else "")
    by, sink = call.caller.name, asked.sink or ""
    log.info("a tap is open", by=by, topic=asked.topic, sink=sink, after_steps=asked.after_steps)
    call.router.events.add("tap", sink, f"{by} looks at {what}", state="open", by=by)
    try:
        yield
    finally:
        listener.close()
        log.info("a tap is closed", by=by, topic=asked.topic, sink=sink, shown=listener.shown, missed=listener.missed)
        seen = f"{by} has seen {listener.shown} {what}; {listener.missed} were left out"
        call.router.events.add("tap", sink, seen, state="closed", by=by)
