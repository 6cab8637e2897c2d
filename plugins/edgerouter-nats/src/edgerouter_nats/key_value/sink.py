"""Sink `nats-kv`: the latest message of each key in a bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Self

from edgerouter import Limits, Message, Outcome, Sink, SinkConfig, SinkContext
from edgerouter_nats.connection import connecting
from edgerouter_nats.headers import Headers
from edgerouter_nats.jetstream.publishing import Publisher
from edgerouter_nats.jetstream.sink import StreamSinkFields, limits
from edgerouter_nats.jetstream.streams import check_stream
from edgerouter_nats.key_value.bucket import BucketName, stream_of, subject_prefix
from edgerouter_nats.settings import NatsSettings
from edgerouter_nats.subjects import KEY, SubjectTemplate, SubjectText


class KeyValueSinkConfig(StreamSinkFields, NatsSettings, SinkConfig):
    """Puts each message into a key-value bucket, under a key made from its topic."""

    bucket: BucketName
    """Bucket; it must exist."""
    key: SubjectText = "{topic}"
    """Key of each message, a template (docs/reference/templates.md). The levels of a topic are separated by dots; what a key cannot
    hold is escaped with `=` (docs/reference/nats.md)."""


class KeyValueSink(Sink[KeyValueSinkConfig]):
    """Puts a batch at once; each message has its answer."""

    partitioned, ordered = False, True

    def __init__(self, publisher: Publisher, limits: Limits) -> None:
        self._publisher = publisher
        self._limits = limits

    @classmethod
    @asynccontextmanager
    async def open(cls, config: KeyValueSinkConfig, context: SinkContext) -> AsyncIterator[Self]:
        stream = stream_of(config.bucket)
        async with connecting(config, f"edgerouter {context.host} {context.name}") as connector:
            connection = await connector.connection()
            await check_stream(connection, stream)
            publisher = Publisher(
                connector,
                SubjectTemplate(config.key, context, KEY, subject_prefix(config.bucket, config.domain)),
                Headers(f"Nats-Expected-Stream: {stream}\r\n".encode()),
                ack_timeout=config.ack_timeout,
                seconds=context.timeout * 0.9,
            )
            yield cls(publisher, limits(config.max_in_flight, connection.max_payload))

    @property
    def limits(self) -> Limits:
        return self._limits

    def size_of(self, message: Message) -> int:
        return self._publisher.size_of(message)

    def order_of(self, message: Message) -> Hashable:
        return message.topic

    async def write(self, batch: Sequence[Message]) -> Outcome:
        return await self._publisher.publish(batch)
