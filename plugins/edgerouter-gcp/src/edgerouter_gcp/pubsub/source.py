"""Source `gcp-pubsub`: messages of a Pub/Sub subscription, acknowledged there once they are safe in the spool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec
from gcloud.aio.pubsub import SubscriberClient
from pydantic import Field

from edgerouter import Duration, Rejected, SourceContext, Unavailable
from edgerouter.receiving import LeaseConfig, Leased, LeaseSource, ReceivedTopic, TopicSource
from edgerouter_gcp.connection import UNBOUNDED, Connection
from edgerouter_gcp.errors import read_answer
from edgerouter_gcp.pubsub.access import PubsubFields, Use, check_use, client_arguments, full_name, open_pubsub
from edgerouter_gcp.pubsub.received import read_pulled

_USE = Use("subscription", "receiving from", "pubsub.subscriptions.consume", "roles/pubsub.subscriber")
_ROLE = f"{_USE.role} on the subscription"
_MOST: Final = 1000
"""Messages of one pull and ids of one acknowledgement: 1000 ids stay below the request's 512 KiB."""
_SHORTEST_DEADLINE: Final = 10.0
"""Seconds that every subscription gives at least: https://cloud.google.com/pubsub/docs/lease-management"""
_PATIENCE: Final = 20.0
_PULL_PATIENCE: Final = 120.0
"""Seconds; the service answers a pull within some 90, with messages or without."""


class PubsubSourceConfig(PubsubFields, LeaseConfig):
    """Configuration of the source `gcp-pubsub`. The account needs roles/pubsub.subscriber on the subscription."""

    subscription: str = Field(pattern=r"^(projects/[^/]+/subscriptions/)?[^/]+$", examples=["commands-edge-7"])
    """The subscription (of the kind pull), by its short name or as `projects/<project>/subscriptions/<name>`."""
    skip_own: bool = False
    """Skip messages that this router has published to the subscription's topic; it is acknowledged. Known by the attribute
    `id`, which the sink gcp-pubsub sets by default."""
    ack_deadline: Duration = Field(default=60.0, ge=10, le=600)
    """Time for which Pub/Sub withholds a message from other subscribers while it waits to be stored; extended while it waits."""
    polls: int = Field(default=2, ge=1, le=20)
    """Requests at once while there is much to receive, of up to 1000 messages each; otherwise there is one."""


class PubsubSource(LeaseSource[PubsubSourceConfig]):
    """Pulls one subscription over REST."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, config: PubsubSourceConfig, context: SourceContext) -> AsyncIterator[_Subscription]:
        async with open_pubsub(config) as connection:
            yield _Subscription(connection, config, context)


class _Subscriber(SubscriberClient):
    """gcloud-aio's client, whose answers stay bytes."""

    async def ask(self, resource: str, method: str, body: dict[str, Any]) -> bytes:
        data = msgspec.json.encode(body)
        url = f"{self._api_root}/{resource}:{method}"
        response = await self.session.post(url, data=data, headers=await self._headers(), timeout=UNBOUNDED)
        return await response.read()


class _Subscription:
    """A subscription as `edgerouter.receiving` sees it."""

    most_received = _MOST
    most_acknowledged = _MOST
    first_lease = _SHORTEST_DEADLINE

    def __init__(self, connection: Connection, config: PubsubSourceConfig, context: SourceContext) -> None:
        self.lease = float(int(config.ack_deadline))
        self.what = config.subscription
        self._name = config.subscription
        self._own = f"{context.spool}-" if config.skip_own else None
        self._connection = connection
        self._client = _Subscriber(**client_arguments(connection))
        self._topic = ReceivedTopic(config.topic, TopicSource(config.subscription.rpartition("/")[2], context.name, context.host))

    async def connect(self) -> None:
        self.what = self._name = await full_name(self._connection, self._name, _USE)
        await check_use(self._connection, self._name, _USE)

    async def receive(self, most: int) -> Sequence[Leased]:
        with self._connection.of_service(f"pull {self._name}", role=_ROLE):
            async with asyncio.timeout(_PULL_PATIENCE):
                answer = await self._client.ask(self._name, "pull", {"maxMessages": most})
            self._connection.token.accepted()
            return read_pulled(answer, self._topic, time.time_ns(), self._own)

    async def acknowledge(self, handles: Sequence[str]) -> Sequence[str]:
        try:
            again = await self._settle("acknowledge", handles)
            return await self._settle("acknowledge", again) if 0 < len(again) < len(handles) else again
        except Rejected:
            if len(handles) == 1:
                return ()  # the service does not know it any more: it is done, or comes again under another
            half = len(handles) // 2
            return [*await self.acknowledge(handles[:half]), *await self.acknowledge(handles[half:])]

    async def extend(self, handles: Sequence[str]) -> None:
        seconds = int(self.lease)
        with self._connection.of_service(f"modifyAckDeadline {self._name}"):
            again = await self._settle("modifyAckDeadline", handles, ackDeadlineSeconds=seconds)
            if again and await self._settle("modifyAckDeadline", again, ackDeadlineSeconds=seconds):
                raise Unavailable(f"modifyAckDeadline {self._name}: the service could not just now")

    async def _settle(self, method: str, handles: Sequence[str], **more: int) -> Sequence[str]:
        """Acknowledge or extend handles.

        Returns:
            Handles to try again with. A subscription with exactly-once delivery refuses a request in which one handle is out of
            date, and names it: that one is done, or comes again under another.

        Raises:
            Rejected: the request itself was refused.
        """
        with self._connection.translated(f"{method} {self._name}", role=_ROLE):
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._client.ask(self._name, method, {"ackIds": list(handles), **more})
            except aiohttp.ClientResponseError as error:
                told = read_answer(error).metadata
                if told.keys().isdisjoint(handles):
                    raise
                return [handle for handle in handles if not str(told.get(handle, "")).startswith("PERMANENT_")]
        return ()
