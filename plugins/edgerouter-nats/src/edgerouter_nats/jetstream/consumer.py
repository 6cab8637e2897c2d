"""A durable consumer: found or made, and made anew after it was deleted."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy

from edgerouter import Unauthorized
from edgerouter_nats.connection import Connection
from edgerouter_nats.jetstream.streams import Missing, ask, check_stream

Deliver = Literal["all", "new", "last_per_subject"]
"""Beginning of a new consumer."""

_POLICIES: Final = {
    "all": DeliverPolicy.ALL,
    "new": DeliverPolicy.NEW,
    "last_per_subject": DeliverPolicy.LAST_PER_SUBJECT,
}
_SECONDS: Final = 5.0
_LOOK_AGAIN: Final = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """The consumer as the configuration wants it."""

    stream: str
    durable: str
    subjects: tuple[str, ...]
    deliver: Deliver
    ack_wait: float
    max_ack_pending: int

    @property
    def what(self) -> str:
        """Name for errors and logs."""
        return f"consumer {self.durable} of stream {self.stream}"


@dataclass(frozen=True, slots=True)
class Bound:
    """A consumer that is there."""

    ack_wait: float
    incarnation: str
    """Changes when the consumer was made anew."""


async def bind(connection: Connection, wanted: Wanted, *, make: bool) -> Bound:
    """Find the consumer, or make it.

    Args:
        connection: open.
        wanted: from the configuration.
        make: false to look only.

    Raises:
        Unauthorized: there is no such stream, or the consumer is of another kind.
        Unavailable: no answer.
    """
    manager = connection.jetstream(_SECONDS)
    looking = manager.consumer_info(wanted.stream, wanted.durable)
    info: ConsumerInfo | None = None
    with suppress(Missing):
        info = await ask(connection, looking, f"look at {wanted.what}")
    if info is None and make:
        info = await ask(connection, manager.add_consumer(wanted.stream, _config(wanted)), f"make {wanted.what}")
    if info is None:
        await check_stream(connection, wanted.stream)
        return Bound(wanted.ack_wait, "")
    if info.config.deliver_subject:
        raise Unauthorized(f"{wanted.what} is a push consumer: delete it, or name another in `durable`")
    if info.config.ack_policy != AckPolicy.EXPLICIT:
        raise Unauthorized(f"{wanted.what} has ack_policy {info.config.ack_policy}, not explicit: messages could be lost")
    # without dots, so that it adds no token to the address of an acknowledgement
    return Bound(info.config.ack_wait or wanted.ack_wait, f"{info.created.timestamp():.6f}".replace(".", "-"))


async def settled(connection: Connection, wanted: Wanted, ack_wait: float) -> None:
    """Wait until no message is on its way that an earlier connection was sent: it comes again, before all others.

    Raises:
        Unavailable: no answer.
    """
    manager = connection.jetstream(_SECONDS)
    clock = asyncio.get_running_loop().time
    until, pause = clock() + ack_wait, _LOOK_AGAIN
    while True:
        info = await ask(connection, manager.consumer_info(wanted.stream, wanted.durable), f"look at {wanted.what}")
        if not info.num_ack_pending or clock() >= until:
            return
        await asyncio.sleep(min(pause, max(0.0, until - clock())))
        pause = min(2 * pause, 1.0)


def _config(wanted: Wanted) -> ConsumerConfig:
    filters: dict[str, Any] = {}
    if len(wanted.subjects) == 1:
        filters = {"filter_subject": wanted.subjects[0]}
    elif wanted.subjects:
        filters = {"filter_subjects": list(wanted.subjects)}
    return ConsumerConfig(
        durable_name=wanted.durable,
        deliver_policy=_POLICIES[wanted.deliver],
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=wanted.ack_wait,
        max_ack_pending=wanted.max_ack_pending,
        **filters,
    )
