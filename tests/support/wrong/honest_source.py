"""An honest source, and the service behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

from pydantic import SecretStr

from edgerouter import Delivery, Message, Source, SourceConfig, SourceContext

QUEUE = "queue"
CONFIG: Mapping[str, Any] = {"name": QUEUE}
"""Configuration of the source."""


class Queue:
    """A service of this process: a queue that waits where its reader does, and counts acknowledgements."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[bytes | None] = asyncio.Queue(50)
        self.acknowledged = 0

    async def send(self, payloads: Sequence[bytes]) -> None:
        """Send payloads, and wait where the reader is slow."""
        for payload in payloads:
            await self.waiting.put(payload)


class QueueConfig(SourceConfig):
    """A queue of this process."""

    name: str
    """Name of the queue."""
    password: SecretStr = SecretStr("hush-hush")
    """A secret."""
    max_messages: int = 100
    """Messages that wait."""


class QueueSource(Source[QueueConfig]):
    """An honest source."""

    queues: ClassVar[dict[str, Queue]] = {}

    def __init__(self, config: QueueConfig, context: SourceContext) -> None:
        self.config, self.context = config, context
        self.queue = self.queues[config.name]

    @classmethod
    @asynccontextmanager
    async def open(cls, config: QueueConfig, context: SourceContext) -> AsyncIterator[Self]:
        context.connected(True, "")
        yield cls(config, context)

    async def deliveries(self) -> AsyncIterator[Delivery]:
        if self.context.probe:
            await asyncio.Event().wait()
        while (payload := await self.queue.waiting.get()) is not None:
            yield Delivery([self.message(payload)], self.acknowledge)

    def message(self, payload: bytes) -> Message:
        """Make a message of a payload."""
        return Message("t", payload, time.time_ns(), 1)

    def acknowledge(self) -> None:
        """Let the sender know."""
        self.queue.acknowledged += 1

    def stop(self) -> None:
        self.queue.waiting.put_nowait(None)
