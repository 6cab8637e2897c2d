"""Receives from a broker that a publisher connects to: into an inbox, and acknowledged once stored in the spool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from edgerouter.errors import Unavailable
from edgerouter.message import Message
from edgerouter.mqtt.incoming import Connection, Incoming
from edgerouter.mqtt.link import Link
from edgerouter.receiving.inbox import Inbox
from edgerouter.receiving.problems import Problems
from edgerouter.receiving.source import ReceivingConfig
from edgerouter.source import SourceContext

_SETTLE_SECONDS: Final = 5.0
"""Time that the spool has to store what came in before its connection is replaced; what is late comes again."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Topics to subscribe to, and bounds of the session."""

    filters: Mapping[str, int]
    """Topic filters with their quality of service, 1 at most."""
    session_expiry: int = 0
    """Seconds that the broker keeps the session while no connection stands (MQTT 5)."""
    receive_maximum: int = 65_535
    """Most messages that the broker may leave unacknowledged (MQTT 5)."""


class Subscription:
    """A `Subscriber` of a publisher, and the inbox behind it.

    Args:
        context: of the source.
        config: bounds of the inbox.
        topics: to subscribe to.
        what: hub or endpoint, for the operator.
        make: makes a message, or `None` for one that is not to be stored, which is acknowledged at once.
    """

    def __init__(
        self,
        context: SourceContext,
        config: ReceivingConfig,
        topics: Topics,
        what: str,
        make: Callable[[Connection, Incoming], Message | None],
    ) -> None:
        self.filters = topics.filters
        self.session_expiry = topics.session_expiry
        self.receive_maximum = min(topics.receive_maximum, config.max_unacknowledged)
        self.inbox: Inbox[tuple[Connection, int]] = Inbox(
            config.max_unacknowledged,
            config.max_unacknowledged_bytes,
            acknowledged=self._acknowledged,
            flush_now=context.flush_now,
        )
        self._most, self._most_bytes = config.max_unacknowledged, config.max_unacknowledged_bytes
        self._context = context
        self._make = make
        self._what = what
        self._settled = asyncio.Event()
        self._problems = Problems(context, what, end=self.inbox.fail)
        self._problems.until(["receive"])

    def received(self, connection: Connection, incoming: Incoming) -> None:
        """Put a message into the inbox, or end the connection where there is no room: the broker keeps it."""
        if self.inbox.stopped:
            return
        message = self._make(connection, incoming)
        if message is None:
            if incoming.qos:
                connection.acknowledge([incoming.identifier])
            return
        if self.inbox.messages >= self._most or self.inbox.bytes >= self._most_bytes:
            if incoming.qos:
                connection.cut("more messages came in than may be unacknowledged")
            else:
                self._context.dropped(message.topic, 1, "intake_full")
            return
        self.inbox.put([message], [(connection, incoming.identifier)])

    async def settled(self, connection: Connection) -> None:  # noqa: ARG002  (one connection at a time)
        """Wait until everything that came in is stored and acknowledged, for a bounded time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_SECONDS):
                while self.inbox.messages:
                    self._settled.clear()
                    self._context.flush_now()
                    await self._settled.wait()

    @asynccontextmanager
    async def running(self, connected: Callable[[], Awaitable[Link]]) -> AsyncIterator[None]:
        """Keep the connection up until the context exits.

        Args:
            connected: returns the connection, made anew where it was lost, with this subscriber.
        """
        task = self._problems.start(self._serve(connected), "receive")
        try:
            yield
        finally:
            self.inbox.stop()
            task.cancel()
            await asyncio.wait([task])

    async def _serve(self, connected: Callable[[], Awaitable[Link]]) -> None:
        failures = 0
        while True:
            try:
                link = await connected()
            except Unavailable as error:
                failures += 1
                await self._problems.retry("receive", error, failures)
                continue
            self._problems.solved("receive")
            reason = await link.over()
            if reason is not None:
                failures += 1
                await self._problems.back_off("receive", f"{self._what}: {reason}", failures)
            else:
                failures = 0

    def _acknowledged(self, tokens: Sequence[tuple[Connection, int]]) -> None:
        identifiers: dict[int, tuple[Connection, list[int]]] = {}
        for connection, identifier in tokens:
            if identifier:
                identifiers.setdefault(id(connection), (connection, []))[1].append(identifier)
        for connection, those in identifiers.values():
            connection.acknowledge(those)
        self._settled.set()
