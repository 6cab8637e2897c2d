"""Source `azure-event-hubs`: the events of all partitions, with a checkpoint once they are safe in the spool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final, NoReturn, Self

from edgerouter import Delivery, Source, SourceContext, Unavailable
from edgerouter.receiving import Inbox, Problems, ReceivedTopic, TopicSource
from edgerouter_azure.event_hubs.checkpoints import BlobCheckpoints, Checkpoints, FileCheckpoints
from edgerouter_azure.event_hubs.hub import Hub
from edgerouter_azure.event_hubs.progress import Progress
from edgerouter_azure.event_hubs.received import Position, is_of, message_of, position_of
from edgerouter_azure.event_hubs.source_config import EventHubsSourceConfig

if TYPE_CHECKING:
    from edgerouter_azure.event_hubs.consumer_link import ConsumerLink

_BREATH: Final = 0.25
"""Checks of a link per `keep_alive` while nothing is taken: the service may send its heartbeat only after 7/8 of the
time that it has, and it counts when it is read."""


class EventHubsSource(Source[EventHubsSourceConfig]):
    """One link for each partition; each resumes behind the last event that arrived, while the others continue."""

    def __init__(self, config: EventHubsSourceConfig, context: SourceContext, hub: Hub, progress: Progress) -> None:
        self._config, self._context, self._hub, self._progress = config, context, hub, progress
        name = config.as_sink_config().place().hub
        self._topic = ReceivedTopic(config.topic, TopicSource(name, context.name, context.host))
        self._inbox: Inbox[tuple[str, Position]] = Inbox(
            config.max_unacknowledged,
            config.max_unacknowledged_bytes,
            acknowledged=progress.stored,
            flush_now=context.flush_now,
            receipt=progress.receipt,
        )
        self._own = f"{context.spool}-" if config.skip_own else None
        self._problems = Problems(context, name, end=self._inbox.fail)
        self._problems.until(["start"])
        self._receiving: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EventHubsSourceConfig, context: SourceContext) -> AsyncIterator[Self]:
        """Start to receive; `deliveries` raises if the hub cannot be reached."""
        place = config.as_sink_config().place()
        stores: list[Checkpoints] = []
        async with AsyncExitStack() as stack:
            if context.state is not None:
                stores.append(FileCheckpoints(context.state, f"{place.host}/{place.hub}/{config.consumer_group}".lower()))
            if config.checkpoint_store is not None:
                blobs = config.checkpoint_store.as_blob_config(config.identity())
                store = BlobCheckpoints.open(blobs, place.host, place.hub, config.consumer_group)
                stores.append(await stack.enter_async_context(store))
            hub = await stack.enter_async_context(Hub.open(config))
            source = cls(config, context, hub, Progress(stores, config.checkpoint_interval))
            async with source._running():
                yield source

    def deliveries(self) -> AsyncIterator[Delivery]:
        return self._inbox.deliveries()

    def stop(self) -> None:
        self._inbox.stop()
        if self._receiving is not None:
            self._receiving.cancel()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        receiving = self._receiving = self._problems.start(self._receive(), "receive")
        saving = self._problems.start(self._progress.keep_saving(self._problems), "checkpoints")
        try:
            yield
        finally:
            self.stop()
            saving.cancel()
            await asyncio.wait([receiving, saving])
            await self._progress.save_last(self._problems)

    async def _receive(self) -> None:
        starts = await self._hub.starts(await self._progress.load(self._context.unacknowledged))
        if self._context.probe:
            partition, position = next(iter(starts.items()))
            async with self._hub.link(partition, position) as link:
                await link.receive()  # a refused link is attached first and detached then
            self._problems.solved("start")
            return
        self._progress.begin(starts)
        self._problems.until(starts)
        self._problems.solved("start")
        async with asyncio.TaskGroup() as tasks:
            for partition in starts:
                tasks.create_task(self._pump(partition), name=f"{self._context.name}: partition {partition}")

    async def _pump(self, partition: str) -> None:
        """Receive one partition, for ever; a lost link is opened again here, because the links of the other partitions work."""
        failures = 0
        received = self._progress.received
        while True:
            before = received[partition]
            try:
                async with self._hub.link(partition, before) as link:
                    self._problems.solved(partition)
                    await self._bring_in(link, partition)
            except Unavailable as error:
                failures = failures + 1 if received[partition] == before else 1
                await self._problems.retry(partition, error, failures)

    async def _bring_in(self, link: ConsumerLink, partition: str) -> NoReturn:
        """Receive events until the link raises."""
        inbox, topic, own, most = self._inbox, self._topic, self._own, self._hub.prefetch
        while True:
            while not await self._reserved(most):
                await link.breathe()
            try:
                events = await link.receive()
                if events:
                    now = time.time_ns()
                    token = partition, position_of(events[-1])
                    if own is not None:
                        events = [event for event in events if not is_of(event, own)]
                    inbox.put([message_of(event, topic, now) for event in events], [token])
                    self._progress.received[partition] = token[1]
                    if not events and not inbox.messages:
                        self._progress.stored([token])  # only our own, and nothing before them waits
            finally:
                inbox.release(most)

    async def _reserved(self, most: int) -> bool:
        try:
            async with asyncio.timeout(_BREATH * self._config.keep_alive):
                await self._inbox.reserve(most)
        except TimeoutError:
            return False
        return True
