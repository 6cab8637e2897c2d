"""Source `nats`: messages of core NATS, which come once and are never sent again."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field

from edgerouter import Delivery, Source, SourceContext
from edgerouter.receiving import Inbox, ReceivingConfig
from edgerouter_nats.connection import Connection, connecting
from edgerouter_nats.errors import said
from edgerouter_nats.incoming import Incoming
from edgerouter_nats.parser import Arrived, Skipped
from edgerouter_nats.settings import NatsSettings

_FULL: Final = "more came than the spool takes (max_unacknowledged, max_unacknowledged_bytes)"
_TOO_LONG: Final = "longer than max_message_bytes"
_SUBSCRIPTION: Final = re.compile(r"subscription to", re.IGNORECASE)
_SECONDS: Final = 10.0


def _checked(text: str) -> str:
    tokens = text.split(".")
    if "" in tokens or any(each in text for each in " \t\r\n") or ">" in tokens[:-1]:
        raise ValueError(f"{text!r} is not a subject: tokens between dots, `*` for any one, `>` for all that follow")
    return text


SubjectFilter = Annotated[str, AfterValidator(_checked)]
"""A configuration field that holds a subject with wildcards."""


class NatsSourceConfig(NatsSettings, ReceivingConfig):
    """Receives from core NATS: at most once, because the server keeps nothing while the router is away.

    Where each message must arrive, let a stream take the subject and use `nats-jetstream`.
    """

    subjects: tuple[SubjectFilter, ...] = Field(min_length=1, max_length=1000, examples=[["metrics.>"]])
    """Subjects to receive, with the wildcards `*` and `>`."""
    queue: str | None = Field(default=None, pattern=r"^[^\s]+$", examples=["routers"])
    """Queue group: each message comes to one of its members, so that several routers share the load."""
    skip_own: bool = False
    """Leave out what this router itself has sent to these subjects."""


class NatsSource(Source[NatsSourceConfig]):
    """Holds what has come until it is stored, and drops and counts what comes beyond its bound."""

    def __init__(self, config: NatsSourceConfig, context: SourceContext, connection: Connection) -> None:
        self._config = config
        self._context = context
        self._connection = connection
        self._incoming = Incoming(config.topic, config.subjects[0], context, qos=0, skip_own=config.skip_own)
        self._inbox: Inbox[None] = Inbox(
            config.max_unacknowledged,
            config.max_unacknowledged_bytes,
            acknowledged=lambda _: None,
            flush_now=context.flush_now,
        )
        connection.client.refused.append(self._refused)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: NatsSourceConfig, context: SourceContext) -> AsyncIterator[Self]:
        async with connecting(config, f"edgerouter {context.host} {context.name}") as connector:
            connection = await connector.connection()
            connection.client.lost.add_done_callback(lambda _: source.lost())
            source = cls(config, context, connection)
            yield source

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Subscribe, and yield what comes; raises `Unavailable` once the connection is lost."""
        # a look subscribes too: it takes no message from another member of the group
        queue = "" if self._context.probe else (self._config.queue or "")
        ends = [self._connection.client.listen(self, subject, queue) for subject in self._config.subjects]
        await self._connection.flush(_SECONDS)
        self._context.connected(True, "")
        try:
            async for delivery in self._inbox.deliveries():
                yield delivery
        finally:
            for end in ends:
                end()

    def stop(self) -> None:
        self._inbox.stop()

    def lost(self) -> None:
        """End `deliveries`: the router opens the source again."""
        self._inbox.fail(self._connection.error)

    def arrived(self, messages: list[Arrived]) -> None:
        if self._inbox.stopped or self._context.probe:
            return
        room = self._config.max_unacknowledged - self._inbox.messages
        if self._inbox.bytes >= self._config.max_unacknowledged_bytes:
            room = 0
        if room < len(messages):
            self._drop(messages[max(room, 0) :])
            messages = messages[: max(room, 0)]
        kept = [message for message in self._incoming.messages(messages) if message is not None]
        self._inbox.put(kept, ())

    def skipped(self, message: Skipped) -> None:
        self._context.dropped(self._incoming.topic_of(message.subject), 1, _TOO_LONG)

    def _drop(self, messages: Sequence[Arrived]) -> None:
        counts: dict[str, int] = {}
        for message in messages:
            counts[message.subject] = counts.get(message.subject, 0) + 1
        for subject, count in counts.items():
            self._context.dropped(self._incoming.topic_of(subject), count, _FULL)

    def _refused(self, text: str) -> None:
        if _SUBSCRIPTION.search(text):
            self._inbox.fail(said(text, self._connection.server))
