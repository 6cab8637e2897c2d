"""An event hub as its consumer sees it: where to start in each partition, and a link to each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from edgerouter_azure.credentials import open_credential
from edgerouter_azure.errors import translate_at_opening
from edgerouter_azure.event_hubs.config import client_options
from edgerouter_azure.event_hubs.received import Position
from edgerouter_azure.event_hubs.shared_key import SharedKeyCredential
from edgerouter_azure.event_hubs.source_config import EventHubsSourceConfig
from edgerouter_azure.sdk import load

if TYPE_CHECKING:
    from azure.eventhub.aio import EventHubConsumerClient

    from edgerouter_azure.event_hubs.consumer_link import ConsumerLink

_HINT = "receiving needs the role Azure Event Hubs Data Receiver, or a shared access policy with the claim Listen"
_OLDEST: Final = Position(-1, "-1")
_SILENCE: Final = 3.0
"""A service that stays silent for so many times `keep_alive` is gone."""


class Hub:
    """An event hub; the client connects at the first request."""

    def __init__(self, config: EventHubsSourceConfig, client: EventHubConsumerClient) -> None:
        place = config.as_sink_config().place()
        self.doing = f"receive from event hub {place.hub} at {config.endpoint or place.host}"
        self.prefetch = min(config.prefetch, config.max_unacknowledged)
        """Events that the service may send ahead on a link."""
        self._config = config
        self._client = client

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EventHubsSourceConfig) -> AsyncIterator[Self]:
        """Make a client, without a request, and close it on exit."""
        await load("edgerouter_azure.event_hubs.consumer_link")
        from azure.core.credentials import AzureSasCredential  # noqa: PLC0415  (see link)
        from azure.eventhub.aio import EventHubConsumerClient  # noqa: PLC0415  (see link)

        place = config.as_sink_config().place()
        options: dict[str, Any] = client_options(config.as_sink_config(), place)
        # makes the service send heartbeats: a connection that a router on the way has forgotten would stay silent for ever
        options["idle_timeout"] = _SILENCE * config.keep_alive
        async with AsyncExitStack() as stack:
            credential: Any
            if place.signature:
                credential = AzureSasCredential(place.signature)
            elif place.key:
                credential = SharedKeyCredential(place.policy, place.key, config.token_lifetime)
            else:
                credential = await stack.enter_async_context(open_credential(config))
            client = EventHubConsumerClient(place.host, place.hub, config.consumer_group, credential, **options)
            yield cls(config, await stack.enter_async_context(client))

    async def starts(self, stored: Mapping[str, Position]) -> dict[str, Position]:
        """Return the position to start at in each partition: behind the stored events, or as configured.

        Raises:
            Unavailable: the hub cannot be reached.
        """
        starts: dict[str, Position] = {}
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                for partition in self._config.partitions or await self._client.get_partition_ids():
                    starts[partition] = stored[partition] if partition in stored else await self._first(partition)
        except Exception as error:  # the SDK raises many types while connecting, of which the table makes ours
            # a question about the hub raises an error without the condition that it came from
            of_amqp = error.__context__ if hasattr(error.__context__, "condition") else None
            raise translate_at_opening(of_amqp or error, self.doing, hint=_HINT) from error
        return starts

    async def _first(self, partition: str) -> Position:
        if self._config.start == "oldest":
            return _OLDEST
        properties = await self._client.get_partition_properties(partition)
        return Position(properties["last_enqueued_sequence_number"], str(properties["last_enqueued_offset"]))

    @asynccontextmanager
    async def link(self, partition: str, position: Position) -> AsyncIterator[ConsumerLink]:
        """Attach to a partition behind a position.

        Raises:
            Unavailable: the link cannot be attached, or is lost.
        """
        from edgerouter_azure.event_hubs.consumer_link import ConsumerLink  # noqa: PLC0415  (brings the SDK, 106 ms and 11 MB)

        with self._translated():
            async with asyncio.timeout(self._config.connect_timeout):
                link = await ConsumerLink.open(self._client, self._config.consumer_group, partition, position.offset, self.prefetch)
            try:
                yield link
            finally:
                await link.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the SDK raises many types, of which the table makes ours
            raise translate_at_opening(error, self.doing, hint=_HINT) from error
