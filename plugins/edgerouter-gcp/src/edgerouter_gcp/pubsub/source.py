"""Source `gcp-pubsub`: messages of a Pub/Sub subscription, acknowledged there once they are safe in the spool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Self

import aiohttp
import msgspec
from gcloud.aio.pubsub import SubscriberClient
from pydantic import Field, model_validator

from edgerouter import Duration, Rejected, SourceContext, Unauthorized, Unavailable
from edgerouter.receiving import LeaseConfig, Leased, LeaseSource, ReceivedTopic, TopicSource
from edgerouter_gcp.connection import UNBOUNDED, Connection, connect
from edgerouter_gcp.credentials import GoogleFields
from edgerouter_gcp.errors import read_answer
from edgerouter_gcp.pubsub.received import read_pulled

_SCOPES = ("https://www.googleapis.com/auth/pubsub",)
_CONSUME = "pubsub.subscriptions.consume"
_ROLE = "roles/pubsub.subscriber"
_MOST: Final = 1000
"""Messages of one pull and ids of one acknowledgement: 1000 ids stay below the request's 512 KiB."""
_SHORTEST_DEADLINE: Final = 10.0
"""Seconds that every subscription gives at least: https://cloud.google.com/pubsub/docs/lease-management"""
_PATIENCE: Final = 20.0
_PULL_PATIENCE: Final = 120.0
"""Seconds; the service answers a pull within some 90, with messages or without."""


class PubsubSourceConfig(GoogleFields, LeaseConfig):
    """Configuration of the source `gcp-pubsub`. The account needs roles/pubsub.subscriber on the subscription."""

    subscription: str = Field(pattern=r"^(projects/[^/]+/subscriptions/)?[^/]+$")
    """The subscription (of the kind pull), by its short name or as `projects/<project>/subscriptions/<name>`."""
    region: str | None = Field(default=None, pattern=r"^[a-z]+-[a-z]+[0-9]+$")
    """Pull through this region's endpoint, such as `europe-west1`."""
    skip_own: bool = False
    """Skip messages that this router has published to the subscription's topic; it is acknowledged. Known by the attribute
    `id`, which the sink gcp-pubsub sets by default."""
    ack_deadline: Duration = Field(default=60.0, ge=10, le=600)
    """Time for which Pub/Sub withholds a message from other subscribers while it waits to be stored; extended while it waits."""
    polls: int = Field(default=2, ge=1, le=20)
    """Requests at once while there is much to receive, of up to 1000 messages each; otherwise there is one."""

    @model_validator(mode="after")
    def _one_endpoint(self) -> Self:
        if self.region is not None and self.endpoint is not None:
            raise ValueError("region and endpoint exclude each other")
        return self


class PubsubSource(LeaseSource[PubsubSourceConfig]):
    """Pulls one subscription over REST."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, config: PubsubSourceConfig, context: SourceContext) -> AsyncIterator[_Subscription]:
        root = f"https://{config.region}-pubsub.googleapis.com" if config.region else "https://pubsub.googleapis.com"
        async with connect(config, scopes=_SCOPES, endpoint=root, emulator_variable="PUBSUB_EMULATOR_HOST") as connection:
            yield _Subscription(connection, config, context)


class _Subscriber(SubscriberClient):
    """gcloud-aio's client, whose answers stay bytes."""

    async def ask(self, resource: str, method: str, body: dict[str, Any]) -> bytes:
        data = msgspec.json.encode(body)
        url = f"{self._api_root}/{resource}:{method}"
        response = await self.session.post(url, data=data, headers=await self._headers(), timeout=UNBOUNDED)
        return await response.read()

    async def look_at(self, subscription: str) -> None:
        response = await self.session.get(f"{self._api_root}/{subscription}", headers=await self._headers())
        await response.read()


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
        self._client = _Subscriber(
            session=connection.session,
            token=connection.token,
            api_root=f"{connection.endpoint.removesuffix('/v1')}/v1",
            api_is_dev=connection.anonymous,
        )
        self._topic = ReceivedTopic(config.topic, TopicSource(config.subscription.rpartition("/")[2], context.name, context.host))

    async def connect(self) -> None:
        if "/" not in self._name:
            self.what = self._name = f"projects/{await self._connection.project()}/subscriptions/{self._name}"
        doing = f"open {self._name}"
        try:
            async with asyncio.timeout(_PATIENCE):
                if self._connection.anonymous:  # emulators do not know permissions
                    await self._client.look_at(self._name)
                    return
                # needs no permission itself, unlike looking at the subscription
                answer = msgspec.json.decode(await self._client.ask(self._name, "testIamPermissions", {"permissions": [_CONSUME]}))
                self._connection.token.accepted()
                if _CONSUME in answer.get("permissions", ()):
                    return
                await self._client.look_at(self._name)
        except aiohttp.ClientResponseError as error:
            if error.status == 404 and read_answer(error).code:
                text = f"{doing}: there is no such subscription; create it, or look at its name and project"
                raise Unauthorized(text) from None
            role = f"{_ROLE} on the subscription, which may also be missing,"
            raise _unavailable(self._connection.explain(error, doing, role=role)) from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _unavailable(self._connection.explain(error, doing)) from None
        grant = f"grant {_ROLE} on the subscription to {self._connection.token.identity}"
        raise Unauthorized(f"{doing}: the subscription is there, receiving from it is not allowed: {grant}")

    async def receive(self, most: int) -> Sequence[Leased]:
        with self._explained(f"pull {self._name}"):
            async with asyncio.timeout(_PULL_PATIENCE):
                answer = await self._client.ask(self._name, "pull", {"maxMessages": most})
            self._connection.token.accepted()
            return read_pulled(answer, self._topic, time.time_ns(), self._own)

    async def acknowledge(self, handles: Sequence[str]) -> Sequence[str]:
        try:
            again = await self._settle("acknowledge", handles)
            return await self._settle("acknowledge", again) if 0 < len(again) < len(handles) else again
        except _Refused:
            if len(handles) == 1:
                return ()  # the service does not know it any more: it is done, or comes again under another
            half = len(handles) // 2
            return [*await self.acknowledge(handles[:half]), *await self.acknowledge(handles[half:])]

    async def extend(self, handles: Sequence[str]) -> None:
        seconds = int(self.lease)
        again = await self._settle("modifyAckDeadline", handles, ackDeadlineSeconds=seconds)
        if again and await self._settle("modifyAckDeadline", again, ackDeadlineSeconds=seconds):
            raise Unavailable(f"modifyAckDeadline {self._name}: the service could not just now")

    async def _settle(self, method: str, handles: Sequence[str], **more: int) -> Sequence[str]:
        """Say something of handles.

        Returns:
            those to try again with. A subscription with exactly-once delivery refuses a request in which one handle is out of
            date, and names it: that one is done, or comes again under another.
        """
        with self._explained(f"{method} {self._name}"):
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._client.ask(self._name, method, {"ackIds": list(handles), **more})
            except aiohttp.ClientResponseError as error:
                told = read_answer(error).metadata
                if told.keys().isdisjoint(handles):
                    raise
                return [handle for handle in handles if not str(told.get(handle, "")).startswith("PERMANENT_")]
        return ()

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # not `from error`: an aiohttp error's repr shows the request's headers, the access token among them
            raise _unavailable(self._connection.explain(error, doing, role=f"{_ROLE} on the subscription")) from None


class _Refused(Unauthorized):
    """The request itself was refused."""


def _unavailable(error: Unavailable | Rejected) -> Unavailable:
    """There is no message of ours to reject: what is refused is the request."""
    return error if isinstance(error, Unavailable) else _Refused(str(error))
