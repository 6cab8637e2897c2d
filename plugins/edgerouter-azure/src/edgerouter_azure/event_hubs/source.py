"""Source `azure-event-hubs`: the events of all partitions, with a checkpoint once they are safe in the spool."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import structlog

from edgerouter import Delivery, Source, SourceContext, Unauthorized, Unavailable
from edgerouter.receiving import Inbox, ReceivedTopic, TopicSource, backoff
from edgerouter_azure.credentials import open_credential
from edgerouter_azure.errors import translate_at_opening
from edgerouter_azure.event_hubs.checkpoints import BlobCheckpoints, Checkpoints, FileCheckpoints
from edgerouter_azure.event_hubs.config import Place, client_options
from edgerouter_azure.event_hubs.received import Position, is_of, message_of, newest, position_of
from edgerouter_azure.event_hubs.shared_key import SharedKeyCredential
from edgerouter_azure.event_hubs.source_config import EventHubsSourceConfig
from edgerouter_azure.sdk import load

if TYPE_CHECKING:
    from azure.eventhub.aio import EventHubConsumerClient

    from edgerouter_azure.event_hubs.consumer_link import ConsumerLink

log = structlog.get_logger("edgerouter.receiving")

_HINT = "receiving needs the role Azure Event Hubs Data Receiver, or a shared access policy with the claim Listen"
_OLDEST: Final = Position(-1, "-1")
_SILENCE: Final = 3.0
"""A service that is not heard for so many times `keep_alive` is gone."""
_BREATH: Final = 0.25
"""Checks of a link per `keep_alive` while nothing is taken: the service may show itself only after 7/8 of the
time that it has, and what it sent counts when it is read."""
_SAVE_SECONDS: Final = 5.0
"""Seconds to wait for the last checkpoint when closing."""


class EventHubsSource(Source[EventHubsSourceConfig]):
    """One link for each partition; each resumes behind the last event that came in, while the others continue."""

    def __init__(
        self, config: EventHubsSourceConfig, context: SourceContext, client: EventHubConsumerClient, stores: Sequence[Checkpoints]
    ) -> None:
        self._config, self._context, self._client, self._stores = config, context, client, stores
        place = config.as_sink_config().place()
        self._doing = f"receive from event hub {place.hub} at {config.endpoint or place.host}"
        self._topic = ReceivedTopic(config.topic, TopicSource(place.hub, context.name, context.host))
        self._inbox: Inbox[tuple[str, Position]] = Inbox(
            config.max_unacknowledged,
            config.max_unacknowledged_bytes,
            acknowledged=self._safe,
            flush_now=context.flush_now,
            receipt=self._receipt,
        )
        self._own = f"{context.spool}-" if config.skip_own else None
        self._stored: dict[str, Position] = {}
        """By partition: the last event that is safe."""
        self._received: dict[str, Position] = {}
        """By partition: the last event that came in."""
        self._handed_on: dict[str, Position] = {}
        """By partition: the last event that the router was given."""
        self._unsaved = asyncio.Event()
        self._down: dict[str, str] = {"start": "starting"}
        """Faults with their reasons: of partitions, and others."""
        self._log = log.bind(source=context.name, of=place.hub)
        self._task: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EventHubsSourceConfig, context: SourceContext) -> AsyncIterator[Self]:
        """Start to receive; whether the hub can be reached shows later."""
        await load("edgerouter_azure.event_hubs.consumer_link")
        place = config.as_sink_config().place()
        stores: list[Checkpoints] = []
        async with AsyncExitStack() as stack:
            if context.state is not None:
                stores.append(FileCheckpoints(context.state, f"{place.host}/{place.hub}/{config.consumer_group}".lower()))
            if config.checkpoint_store is not None:
                blobs = config.checkpoint_store.as_blob_config(config.identity())
                store = BlobCheckpoints.open(blobs, place.host, place.hub, config.consumer_group)
                stores.append(await stack.enter_async_context(store))
            client = await stack.enter_async_context(_client(config, place))
            source = cls(config, context, client, stores)
            receiving = source._task = asyncio.create_task(source._serve(), name=f"{context.name}: receive")
            receiving.add_done_callback(source._ended)
            saving = asyncio.create_task(source._keep_saving(), name=f"{context.name}: checkpoints")
            try:
                yield source
            finally:
                source.stop()
                saving.cancel()
                await asyncio.wait([receiving, saving])
                await source._save_last()

    def deliveries(self) -> AsyncIterator[Delivery]:
        return self._inbox.deliveries()

    def stop(self) -> None:
        self._inbox.stop()
        if self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        starts = await self._starts()
        if self._context.probe:
            partition, position = next(iter(starts.items()))
            await self._try(await self._link(partition, position))
            self._up("start")
            return
        self._down |= dict.fromkeys(starts, "connecting")
        self._up("start")
        async with asyncio.TaskGroup() as tasks:
            for partition in starts:
                tasks.create_task(self._pump(partition), name=f"{self._context.name}: partition {partition}")

    async def _starts(self) -> dict[str, Position]:
        """Return the position to resume at in each partition: behind the stored events, by the checkpoints and by the receipts.

        Raises:
            Unavailable: the hub or the checkpoints cannot be read.
        """
        known = [(partition, at) for store in self._stores for partition, at in (await store.load()).items()]
        for delivery in self._context.unacknowledged:
            known += [(partition, Position(*at)) for partition, at in json.loads(delivery.receipt).items()]
        stored = newest(known)
        starts: dict[str, Position] = {}
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                for partition in self._config.partitions or await self._client.get_partition_ids():
                    starts[partition] = stored[partition] if partition in stored else await self._first(partition)
        except Exception as error:  # the SDK raises many types while connecting, of which the table makes ours
            # a question about the hub raises an error without the condition that it came from
            of_amqp = error.__context__ if hasattr(error.__context__, "condition") else None
            raise translate_at_opening(of_amqp or error, self._doing, hint=_HINT) from error
        if not self._context.probe:
            # so that after a crash `start: now` goes on where it began the first time
            self._stored = dict(starts)
            self._received = dict(starts)
            self._handed_on = dict(starts)
            self._unsaved.set()
        return starts

    async def _first(self, partition: str) -> Position:
        if self._config.start == "oldest":
            return _OLDEST
        told = await self._client.get_partition_properties(partition)
        return Position(told["last_enqueued_sequence_number"], str(told["last_enqueued_offset"]))

    async def _link(self, partition: str, position: Position) -> ConsumerLink:
        from edgerouter_azure.event_hubs.consumer_link import ConsumerLink  # noqa: PLC0415  (brings the SDK, 106 ms and 11 MB)

        config = self._config
        try:
            async with asyncio.timeout(config.connect_timeout):
                return await ConsumerLink.open(
                    self._client, config.consumer_group, partition, position.offset, min(config.prefetch, config.max_unacknowledged)
                )
        except Exception as error:  # the SDK raises many types while connecting, of which the table makes ours
            raise translate_at_opening(error, self._doing, hint=_HINT) from error

    async def _try(self, link: ConsumerLink) -> None:
        """See that the link stays: one that is refused may be attached first and detached then."""
        try:
            await link.receive()
        except Exception as error:  # the SDK raises many types on a broken link, of which the table makes ours
            raise translate_at_opening(error, self._doing, hint=_HINT) from error
        finally:
            await link.close()

    async def _pump(self, partition: str) -> None:
        """Receive one partition, for ever; a lost link is opened again here, because the other partitions have links that work."""
        failures = 0
        while True:
            before = self._received[partition]
            try:
                link = await self._link(partition, before)
                try:
                    self._up(partition)
                    await self._bring_in(link, partition)
                finally:
                    await link.close()
            except Unavailable as error:
                failures = failures + 1 if self._received[partition] == before else 1
                await self._failed(partition, error, failures)

    async def _bring_in(self, link: ConsumerLink, partition: str) -> NoReturn:
        """Receive events.

        Raises:
            Unavailable: the link is gone.
        """
        inbox, topic, own = self._inbox, self._topic, self._own
        room = min(self._config.prefetch, self._config.max_unacknowledged)
        try:
            while True:
                while not await self._reserved(room):
                    await link.breathe()
                try:
                    events = await link.receive()
                    if events:
                        now = time.time_ns()
                        position = position_of(events[-1])
                        if own is not None:
                            events = [event for event in events if not is_of(event, own)]
                        inbox.put([message_of(event, topic, now) for event in events], [(partition, position)])
                        self._received[partition] = position
                        if not events and not inbox.messages:
                            self._safe([(partition, position)])  # only our own, and nothing before them waits
                finally:
                    inbox.release(room)
        except Exception as error:  # the SDK raises many types on a broken link, of which the table makes ours
            raise translate_at_opening(error, self._doing, hint=_HINT) from error

    async def _reserved(self, room: int) -> bool:
        try:
            async with asyncio.timeout(_BREATH * self._config.keep_alive):
                await self._inbox.reserve(room)
        except TimeoutError:
            return False
        return True

    def _receipt(self, tokens: Sequence[tuple[str, Position]]) -> bytes:
        """The spool's receipt of the last delivery covers all before it, however old the checkpoint is."""
        self._handed_on |= newest(tokens)
        return json.dumps(self._handed_on).encode()

    def _safe(self, tokens: Sequence[tuple[str, Position]]) -> None:
        self._stored |= newest(tokens)
        self._unsaved.set()

    async def _keep_saving(self) -> None:
        failures = 0
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            try:
                await self._save()
            except (Unavailable, OSError) as error:
                failures += 1
                self._unsaved.set()
                self._trouble("checkpoints", f"checkpoint not kept: {error}")
                await asyncio.sleep(backoff(failures, error))
            else:
                failures = 0
                self._up("checkpoints")
                await asyncio.sleep(self._config.checkpoint_interval)

    async def _save(self) -> None:
        for store in self._stores:
            await store.save(self._stored)

    async def _save_last(self) -> None:
        if not self._stored or self._context.probe:
            return
        try:
            async with asyncio.timeout(_SAVE_SECONDS):
                await self._save()
        except (Unavailable, OSError) as error:
            self._log.warning("the last checkpoint is not kept; some events may come again", reason=str(error))

    async def _failed(self, what: str, error: Unavailable, failures: int) -> None:
        if isinstance(error, Unauthorized):
            raise error
        self._trouble(what, str(error))
        await asyncio.sleep(backoff(failures, error))

    def _trouble(self, what: str, reason: str) -> None:
        if self._down.get(what) != reason:
            self._log.warning("trouble, will try again", what=what, reason=reason)
        self._down[what] = reason
        self._context.connected(False, reason)

    def _up(self, what: str) -> None:
        if self._down.pop(what, None) is not None and not self._down:
            self._context.connected(True, "")

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, Unavailable):
            self._inbox.fail(error)
        elif error is not None:
            self._log.error("receiving failed with an error that it should not raise", exc_info=error)
            self._inbox.fail(Unavailable(f"{self._doing}: {type(error).__name__}"))


@asynccontextmanager
async def _client(config: EventHubsSourceConfig, place: Place) -> AsyncIterator[EventHubConsumerClient]:
    from azure.core.credentials import AzureSasCredential  # noqa: PLC0415  (see _link)
    from azure.eventhub.aio import EventHubConsumerClient  # noqa: PLC0415  (see _link)

    options: dict[str, Any] = client_options(config.as_sink_config(), place)
    # asks the service to show itself: a connection that a router on the way has forgotten would stay silent for ever
    options["idle_timeout"] = _SILENCE * config.keep_alive

    def make(credential: Any) -> EventHubConsumerClient:
        return EventHubConsumerClient(place.host, place.hub, config.consumer_group, credential, **options)

    async with AsyncExitStack() as stack:
        if place.signature:
            client = make(AzureSasCredential(place.signature))
        elif place.key:
            client = make(SharedKeyCredential(place.policy, place.key, config.token_lifetime))
        else:
            client = make(await stack.enter_async_context(open_credential(config)))
        yield await stack.enter_async_context(client)
