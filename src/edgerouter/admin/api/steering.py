"""Endpoints that steer a running router: pause and resume sinks and sources, and drain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec

from edgerouter.admin.api.endpoint import Call, Endpoint
from edgerouter.steering import Drained, Pause, Steering

_THERE: Final = {404: "There is none of this name"}


class Drain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a drain."""

    timeout: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Seconds after which the router ends with what is left; null = it takes as long as it takes."""


async def _drain(call: Call) -> Drained:
    asked: Drain = call.asked
    return await call.router.steering.drain(asked.timeout)


def _named(kind: str, verb: str, summary: str, steer: Callable[[Steering, str], Awaitable[Pause]]) -> Endpoint:
    async def run(call: Call) -> Pause:
        return await steer(call.router.steering, call.path["name"])

    return Endpoint(method="POST", path=f"/{kind}s/{{name}}/{verb}", summary=summary, answer=Pause, run=run, problems=_THERE)


STEERING: Final = (
    _named("sink", "pause", "Let the writes of a sink end, and start no more", Steering.pause_sink),
    _named("sink", "resume", "Deliver to a paused sink again", Steering.resume_sink),
    _named("source", "pause", "Store what a source has received, then close it", Steering.pause_source),
    _named("source", "resume", "Open a paused source again", Steering.resume_source),
    Endpoint(
        method="POST",
        path="/drain",
        summary="Accept no more messages, deliver what the spool holds, then end",
        asks=Drain,
        answer=Drained,
        run=_drain,
    ),
)
"""Endpoints that steer."""
