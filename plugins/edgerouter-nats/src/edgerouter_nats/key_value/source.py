"""Source `nats-kv`: the changes of a bucket, beginning with the latest value of each key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import Field

from edgerouter import SourceContext
from edgerouter.receiving import LeaseConfig, LeaseService, LeaseSource
from edgerouter_nats.core.source import SubjectFilter
from edgerouter_nats.incoming import Incoming
from edgerouter_nats.jetstream.source import ConsumerFields, service, wanted_of
from edgerouter_nats.key_value.bucket import BucketName, stream_of, subject_prefix
from edgerouter_nats.settings import NatsSettings
from edgerouter_nats.subjects import KEY


class KeyValueSourceConfig(ConsumerFields, NatsSettings, LeaseConfig):
    """Watches a bucket: each change of a key is a message; a value that is deleted is an empty one, with `KV-Operation`."""

    bucket: BucketName = Field(examples=["setpoints"])
    """Bucket; it must exist."""
    keys: tuple[SubjectFilter, ...] = Field(default=(), max_length=1000, examples=[["press.>"]])
    """Keys to watch, with the wildcards `*` and `>`; all by default. Only for a consumer that is made."""


class KeyValueSource(LeaseSource[KeyValueSourceConfig]):
    """Receives changes by a durable consumer, so that a restart continues where it stopped."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, config: KeyValueSourceConfig, context: SourceContext) -> AsyncIterator[LeaseService]:
        prefix = subject_prefix(config.bucket)
        subjects = tuple(f"{prefix}{key}" for key in config.keys) or (f"{prefix}>",)
        wanted = wanted_of(config, stream_of(config.bucket), subjects, "last_per_subject", config.max_unacknowledged)
        incoming = Incoming(config.topic, config.bucket, context, qos=1, skip_own=config.skip_own, alphabet=KEY, prefix=prefix)
        async with service(config, config, wanted, incoming, context) as open_service:
            yield open_service
