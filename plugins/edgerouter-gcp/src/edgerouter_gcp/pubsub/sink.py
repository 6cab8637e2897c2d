"""Sink `gcp-pubsub`: messages to a Pub/Sub topic, by its REST interface."""

from __future__ import annotations

import asyncio
import io
import zlib
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Self

import msgspec
from gcloud.aio.pubsub import PublisherClient
from pydantic import AfterValidator, Field

from edgerouter import (
    Failure,
    Limits,
    Message,
    MessageTemplate,
    Outcome,
    Rejected,
    Sink,
    SinkConfig,
    SinkContext,
    TemplateText,
    Unavailable,
)
from edgerouter_gcp.connection import UNBOUNDED, Connection
from edgerouter_gcp.pubsub.access import PubsubFields, Use, check_use, client_arguments, full_name, open_pubsub
from edgerouter_gcp.pubsub.envelope import (
    MAX_REQUEST_BYTES,
    MAX_REQUEST_MESSAGES,
    REQUEST_END,
    REQUEST_START,
    Attribute,
    Envelope,
    check_constant,
)

_USE = Use("topic", "publishing to", "pubsub.topics.publish", "roles/pubsub.publisher")
_LARGE_BODY = 1024 * 1024
"""aiohttp wants larger ones as a file, so that it can write them piece by piece."""
_THREAD_ABOVE = 64 * 1024
"""Compressing more than this would hold up the event loop."""
_GZIP_FORMAT = 31  # zlib's window bits for a gzip header
_GZIP_LEVEL = 1
_NO_KEY = ""


class PubsubConfig(PubsubFields, SinkConfig):
    """Configuration of `gcp-pubsub`. The account needs roles/pubsub.publisher on the topic."""

    topic: str = Field(pattern=r"^(projects/[^/]+/topics/)?[^/]+$", examples=["telemetry"])
    """The topic, by its short name or as `projects/<project>/topics/<name>`."""
    ordering_key: TemplateText | None = Field(default=None, examples=["{topic[1]}"])
    """Ordering key of each message, a template (docs/reference/templates.md) such as `{topic}` or `{property[device]}`. Pub/Sub
    then keeps the order within a key; a request holds the messages of one key. Default: no ordering."""
    attributes: tuple[Attribute, ...] = ("id", "topic", "time", "retained", "properties")
    """Values to send as attributes beside the payload. `id` is the same at each retry, for deduplication. `properties` are the
    user properties of MQTT 5 under their own names, and `content_type`, `response_topic`, `correlation_data`."""
    labels: Annotated[Mapping[str, str], AfterValidator(check_constant)] = Field(
        default_factory=dict, examples=[{"plant": "north"}]
    )
    """Attributes that every message gets, such as `site: plant-7`."""
    compression: bool = False
    """Send requests gzipped: less uplink, more CPU."""


class _Published(msgspec.Struct):
    """The answer to a publish."""

    messageIds: list[str] = msgspec.field(default_factory=list)  # noqa: N815  (Google's name)


_published = msgspec.json.Decoder(_Published).decode


class _Publisher(PublisherClient):
    """gcloud-aio's client, given bodies that are already JSON."""

    async def publish_body(self, topic: str, body: bytes, *, gzipped: bool) -> bytes:
        headers = await self._headers()
        if gzipped:
            headers["Content-Encoding"] = "gzip"
        data: Any = body if len(body) <= _LARGE_BODY else io.BytesIO(body)
        response = await self.session.post(f"{self._api_root}/{topic}:publish", data=data, headers=headers, timeout=UNBOUNDED)
        return await response.read()


class PubsubSink(Sink[PubsubConfig]):
    """Publishes to one topic. One write is one request, which Pub/Sub takes or refuses as a whole."""

    def __init__(
        self, config: PubsubConfig, context: SinkContext, connection: Connection, publisher: _Publisher, topic: str
    ) -> None:
        self._connection = connection
        self._publisher = publisher
        self._topic = topic
        self._gzip = config.compression
        self._envelope = Envelope(config.attributes, config.labels)
        self._ordering = MessageTemplate(config.ordering_key, context) if config.ordering_key else None
        self._doing = f"publish to {topic}"

    @classmethod
    @asynccontextmanager
    async def open(cls, config: PubsubConfig, context: SinkContext) -> AsyncIterator[Self]:
        async with open_pubsub(config) as connection:
            topic = await full_name(connection, config.topic, _USE)
            await check_use(connection, topic, _USE)
            yield cls(config, context, connection, _Publisher(**client_arguments(connection)), topic)

    @property
    def limits(self) -> Limits:
        room = MAX_REQUEST_BYTES - len(REQUEST_START) - len(REQUEST_END)
        return Limits(max_messages=MAX_REQUEST_MESSAGES, max_bytes=room, max_message_bytes=room)

    @property
    def partitioned(self) -> bool:
        return self._ordering is not None

    def size_of(self, message: Message) -> int:
        return self._envelope.size_of(message, self._ordering.of(message) if self._ordering is not None else _NO_KEY)

    def partition_of(self, message: Message) -> Hashable:
        return self._ordering.of(message) if self._ordering is not None else None

    async def write(self, batch: Sequence[Message]) -> Outcome:
        failures: list[Failure] = []
        encoded: list[bytes] = []
        encode = self._envelope.encode
        key = self._ordering.of(batch[0]) if self._ordering is not None else _NO_KEY
        for index, message in enumerate(batch):
            try:
                encoded.append(encode(message, key))
            except Rejected as error:
                failures.append(Failure(index, error))
        return Outcome(failures, receipts=await self._publish(encoded) if encoded else None)

    async def _publish(self, encoded: list[bytes]) -> list[str]:
        """Publish, and return the ids that Pub/Sub gave to the messages."""
        body = REQUEST_START + b",".join(encoded) + REQUEST_END
        if self._gzip:
            body = _gzip(body) if len(body) <= _THREAD_ABOVE else await asyncio.to_thread(_gzip, body)
        with self._connection.translated(self._doing, role=f"{_USE.role} on the topic"):
            answer = await self._publisher.publish_body(self._topic, body, gzipped=self._gzip)
        self._connection.token.accepted()
        try:
            ids = _published(answer).messageIds
        except msgspec.DecodeError:
            ids = []
        if len(ids) != len(encoded):
            raise Unavailable(f"{self._doing}: the answer is not Pub/Sub's")
        return ids


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    return compressor.compress(body) + compressor.flush()
