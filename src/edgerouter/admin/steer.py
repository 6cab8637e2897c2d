"""Operations on a running router: pause and resume a sink or a source, and drain; each takes and returns plain data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import msgspec

from edgerouter.errors import EdgerouterError
from edgerouter.steering import Pause, Steering


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sink or a source, by its name in the configuration; exactly one of both."""

    sink: str | None = None
    source: str | None = None


class Drain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a drain."""

    timeout: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Seconds after which the router ends with what is left; null = it takes as long as it takes."""


@dataclass(frozen=True, slots=True)
class SteeringOperation:
    """One operation: what it takes and what it does."""

    request: type[Any]
    run: Callable[[Steering, Any], Awaitable[dict[str, Any]]]


async def _pause(steering: Steering, request: Target) -> dict[str, Any]:
    return await _steer(request, steering.pause_sink, steering.pause_source)


async def _resume(steering: Steering, request: Target) -> dict[str, Any]:
    return await _steer(request, steering.resume_sink, steering.resume_source)


async def _steer(
    request: Target, sink: Callable[[str], Awaitable[Pause]], source: Callable[[str], Awaitable[Pause]]
) -> dict[str, Any]:
    if request.sink is not None and request.source is None:
        return asdict(await sink(request.sink))
    if request.source is not None and request.sink is None:
        return asdict(await source(request.source))
    raise EdgerouterError("name one sink or one source")


async def _drain(steering: Steering, request: Drain) -> dict[str, Any]:
    return asdict(await steering.drain(request.timeout))


STEERING: dict[str, SteeringOperation] = {
    "pause": SteeringOperation(Target, _pause),
    "resume": SteeringOperation(Target, _resume),
    "drain": SteeringOperation(Drain, _drain),
}
"""Name, as in the path of the control interface, to operation."""
