"""Fakes for tests of the intake: a source that gathers, and a spool that keeps a list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Self

from edgerouter import Delivery, Message, Source, SourceConfig, SourceContext


class ListSpool:
    """Keeps what is appended; waits while `full` is set."""

    def __init__(self) -> None:
        self.appended: list[tuple[str, list[Message], dict[str, int]]] = []
        self.room = asyncio.Event()
        self.room.set()

    async def append(self, source: str, delivery: Delivery, wanted: Mapping[str, int]) -> None:
        await self.room.wait()
        self.appended.append((source, list(delivery.messages), dict(wanted)))
        delivery.acknowledge()


class GatheringSource(Source[SourceConfig]):
    """Yields everything put in since the last pull as one delivery, as the contract says."""

    def __init__(self) -> None:
        self.gathered: list[Message] = []
        self.acknowledged: list[Message] = []
        self.arrived = asyncio.Event()
        self.stopping = False

    @classmethod
    @asynccontextmanager
    async def open(cls, config: SourceConfig, context: SourceContext) -> AsyncIterator[Self]:
        yield cls()

    def put(self, *new: Message) -> None:
        self.gathered += new
        self.arrived.set()

    def stop(self) -> None:
        self.stopping = True
        self.arrived.set()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        while True:
            await self.arrived.wait()
            self.arrived.clear()
            batch, self.gathered = self.gathered, []
            if batch:
                yield Delivery(batch, partial(self.acknowledged.extend, batch))
            if self.stopping and not self.gathered:
                return
