"""Sink `nats`: messages to subjects of core NATS, which has no acknowledgement of one message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

from nats.errors import ConnectionClosedError
from pydantic import Field

from edgerouter import Limits, Message, Outcome, Sink, SinkConfig, SinkContext, Unavailable
from edgerouter_nats.connection import Connector, connecting
from edgerouter_nats.headers import Headers
from edgerouter_nats.outgoing import post, prepare, refusals, refused_of
from edgerouter_nats.settings import NatsSettings
from edgerouter_nats.subjects import SubjectTemplate, SubjectText

_MOST_MESSAGES: Final = 1000
_MOST_BYTES: Final = 4 * 1024**2


class NatsSinkConfig(NatsSettings, SinkConfig):
    """Publishes to core NATS, which keeps nothing: at most once for a subscriber that is away.

    A message counts as delivered when the server has read it. Where each must arrive, use `nats-jetstream`.
    """

    subject: SubjectText = Field(default="{topic}", examples=["plant.{topic}"])
    """Subject of each message, a template (docs/reference/templates.md) such as `plant.{topic[1:]}`. The levels of a topic become
    tokens; what a token cannot hold is escaped (docs/reference/nats.md)."""


class NatsSink(Sink[NatsSinkConfig]):
    """Publishes a batch, then waits until the server has read it: the answer to a ping follows all refusals."""

    partitioned, ordered = False, True

    def __init__(self, config: NatsSinkConfig, context: SinkContext, connector: Connector, max_payload: int) -> None:
        self._connector = connector
        self._subjects = SubjectTemplate(config.subject, context)
        self._headers = Headers()
        self._max_payload = max_payload
        self._seconds = context.timeout * 0.9

    @classmethod
    @asynccontextmanager
    async def open(cls, config: NatsSinkConfig, context: SinkContext) -> AsyncIterator[Self]:
        async with connecting(config, f"edgerouter {context.host} {context.name}") as connector:
            connection = await connector.connection()
            yield cls(config, context, connector, connection.max_payload)

    @property
    def limits(self) -> Limits:
        most = max(self._max_payload, _MOST_BYTES)
        return Limits(max_messages=_MOST_MESSAGES, max_bytes=most, max_message_bytes=self._max_payload)

    def size_of(self, message: Message) -> int:
        return self._headers.size_of(message) + len(message.payload)

    def order_of(self, message: Message) -> Hashable:
        return message.topic

    async def write(self, batch: Sequence[Message]) -> Outcome:
        connection = await self._connector.connection()
        posted, failures = prepare(batch, self._subjects, self._headers, connection.max_payload)
        with refusals(connection.client) as refused:
            try:
                await post(connection.client, posted)
                await connection.flush(self._seconds)
            except ConnectionClosedError:
                raise connection.error from None
            except OSError as error:
                raise Unavailable(f"{connection.server}: {error.strerror or type(error).__name__}") from None
        return Outcome([*failures, *refused_of(posted, refused)])
