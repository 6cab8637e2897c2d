"""Sink `nats-kv`: the latest message of each key in a bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from pydantic import Field

from edgerouter import SinkConfig, SinkContext
from edgerouter_nats.connection import connecting
from edgerouter_nats.headers import Headers
from edgerouter_nats.jetstream.publishing import Publisher
from edgerouter_nats.jetstream.sink import StreamSink, StreamSinkFields, limits
from edgerouter_nats.jetstream.streams import check_stream
from edgerouter_nats.key_value.bucket import BucketName, stream_of, subject_prefix
from edgerouter_nats.settings import NatsSettings
from edgerouter_nats.subjects import KEY, SubjectTemplate, SubjectText


class KeyValueSinkConfig(StreamSinkFields, NatsSettings, SinkConfig):
    """Puts each message into a key-value bucket, under a key made from its topic."""

    bucket: BucketName = Field(examples=["last-values"])
    """Bucket; it must exist."""
    key: SubjectText = Field(default="{topic}", examples=["{topic[1]}"])
    """Key of each message, a template (docs/reference/templates.md). The levels of a topic are separated by dots; what a key cannot
    hold is escaped with `=` (docs/reference/nats.md)."""


class KeyValueSink(StreamSink[KeyValueSinkConfig]):
    """Puts a batch at once; each message has its answer."""

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
