"""Base of a source of leased messages, and the fields that receiving sources have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Self, TypeVar

from pydantic import Field

from edgerouter.receiving.leases import LeaseService
from edgerouter.receiving.receiver import LeaseReceiver
from edgerouter.receiving.topic import TopicTemplate
from edgerouter.source import Delivery, Source, SourceConfig, SourceContext
from edgerouter.units import ByteSize


class ReceivingConfig(SourceConfig):
    """Fields of a source that receives from a service."""

    topic: TopicTemplate = Field(default="{topic}", examples=["cloud/{topic}"])
    """Topic that the messages get, fixed or a template (docs/reference/templates.md) such as `cloud/{place}/{attribute[kind]}`.
    `{place}` is the name of the queue, hub or subscription; `{topic}` is the attribute `topic` as edgerouter's sinks set it,
    and the place where there is none."""
    max_unacknowledged: int = Field(default=10_000, ge=1, le=1_000_000)
    """Most messages held that are not stored yet; then nothing is requested."""
    max_unacknowledged_bytes: ByteSize = Field(default=32 * 1024**2, ge=1024)
    """Bytes held that are not stored yet, after which nothing is requested; outstanding answers are still accepted."""


class LeaseConfig(ReceivingConfig):
    """Fields of a source of leased messages."""

    polls: int = Field(default=4, ge=1, le=100)
    """Requests at once while there is much to receive; otherwise there is one."""


LeaseConfigT = TypeVar("LeaseConfigT", bound=LeaseConfig)


class LeaseSource(Source[LeaseConfigT]):
    """A source of messages that a service leases until they are acknowledged; a plugin provides the service."""

    def __init__(self, receiver: LeaseReceiver) -> None:
        self.receiver = receiver

    @classmethod
    @abstractmethod
    def connect(cls, config: LeaseConfigT, context: SourceContext) -> AbstractAsyncContextManager[LeaseService]:
        """Make the service ready, without a request, and close it on exit."""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: LeaseConfigT, context: SourceContext) -> AsyncIterator[Self]:
        """Start to receive; `deliveries` raises if the service cannot be reached."""
        async with cls.connect(config, context) as service:
            receiver = LeaseReceiver(
                service,
                context,
                max_messages=config.max_unacknowledged,
                max_bytes=config.max_unacknowledged_bytes,
                polls=config.polls,
            )
            async with receiver.running():
                yield cls(receiver)

    def deliveries(self) -> AsyncIterator[Delivery]:
        return self.receiver.inbox.deliveries()

    def stop(self) -> None:
        self.receiver.stop()
