"""Sink `nats-jetstream`: messages to streams, each acknowledged by its stream."""

from __future__ import annotations

from abc import ABC
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self, TypeVar

from pydantic import Field

from edgerouter import Duration, Limits, Message, Outcome, Section, Sink, SinkConfig, SinkContext
from edgerouter_nats.connection import connecting
from edgerouter_nats.headers import Headers
from edgerouter_nats.jetstream.publishing import Publisher
from edgerouter_nats.jetstream.streams import check_stream
from edgerouter_nats.settings import NatsSettings
from edgerouter_nats.subjects import SubjectTemplate, SubjectText

ConfigT = TypeVar("ConfigT", bound=SinkConfig)
MOST_BYTES: Final = 4 * 1024**2
"""Of one batch, unless the server takes larger messages."""


class StreamSinkFields(Section):
    """Fields of the sinks whose messages a stream acknowledges."""

    max_in_flight: int = Field(default=1000, ge=1, le=10_000)
    """Most messages sent before their answers have come. With 1, a key keeps its order also while a cluster elects a leader."""
    ack_timeout: Duration = Field(default=5.0, gt=0, le=300)
    """Time without any answer after which the messages that wait for one are sent again. The stream drops what it has already."""


class JetStreamSinkConfig(StreamSinkFields, NatsSettings, SinkConfig):
    """Publishes to subjects that a stream takes. Delivered is what the stream has acknowledged."""

    subject: SubjectText = Field(default="{topic}", examples=["plant.{topic}"])
    """Subject of each message, a template (docs/reference/templates.md) such as `plant.{topic[1:]}`. The levels of a topic become
    tokens; what a token cannot hold is escaped (docs/reference/nats.md)."""
    stream: str | None = Field(default=None, pattern=r"^[^\s.*>/\\]+$", examples=["TELEMETRY"])
    """Stream that must take the messages. Without it, any stream that has the subject does."""


class StreamSink(Sink[ConfigT], ABC):
    """Publishes a batch at once; each message has its answer from a stream."""

    partitioned, ordered = False, True

    def __init__(self, publisher: Publisher, limits: Limits) -> None:
        self._publisher = publisher
        self._limits = limits

    @property
    def limits(self) -> Limits:
        return self._limits

    def size_of(self, message: Message) -> int:
        return self._publisher.size_of(message)

    def order_of(self, message: Message) -> Hashable:
        return message.topic

    async def write(self, batch: Sequence[Message]) -> Outcome:
        return await self._publisher.publish(batch)


class JetStreamSink(StreamSink[JetStreamSinkConfig]):
    """Publishes a batch at once; each message has its answer, and its id has the stream drop repeats."""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: JetStreamSinkConfig, context: SinkContext) -> AsyncIterator[Self]:
        expected = f"Nats-Expected-Stream: {config.stream}\r\n".encode() if config.stream is not None else b""
        async with connecting(config, f"edgerouter {context.host} {context.name}") as connector:
            connection = await connector.connection()
            if config.stream is not None:
                await check_stream(connection, config.stream)
            publisher = Publisher(
                connector,
                SubjectTemplate(config.subject, context),
                Headers(expected),
                ack_timeout=config.ack_timeout,
                seconds=context.timeout * 0.9,
            )
            yield cls(publisher, limits(config.max_in_flight, connection.max_payload))


def limits(max_in_flight: int, max_payload: int) -> Limits:
    """Return the limits of a sink whose messages a stream acknowledges."""
    return Limits(max_in_flight, max(max_payload, MOST_BYTES), max_payload)
