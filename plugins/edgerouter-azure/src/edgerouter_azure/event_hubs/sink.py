"""Sink `azure-event-hubs`: batches of events over AMQP, or AMQP over WebSocket."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from edgerouter import DELIVERED, Limits, Message, Outcome, Sink, SinkContext, TopicCache, Unavailable
from edgerouter.objects import KeyTemplate
from edgerouter_azure.credentials import cause, open_credential
from edgerouter_azure.errors import translate, translate_at_opening, translate_condition
from edgerouter_azure.event_hubs.config import EventHubsConfig, Place, client_options
from edgerouter_azure.event_hubs.encoding import ENVELOPE_BYTES, MAX_KEY_CHARACTERS, EventEncoder
from edgerouter_azure.event_hubs.shared_key import SharedKeyCredential
from edgerouter_azure.sdk import load
from edgerouter_azure.transport import load_authorities

if TYPE_CHECKING:
    from azure.eventhub.aio import EventHubProducerClient

    from edgerouter_azure.event_hubs.link_pool import LinkPool
    from edgerouter_azure.event_hubs.producer_link import ProducerLink

_HINT = "sending needs the role Azure Event Hubs Data Sender, or a shared access policy with the claim Send"


_PROBE_SECONDS = 10.0
"""Of connecting, for `check --connect`: it gives up after 15 s without knowing why."""


class EventHubsSink(Sink[EventHubsConfig]):
    """Sends each batch as one AMQP transfer; keeps one link open for each write in flight."""

    def __init__(self, config: EventHubsConfig, context: SinkContext, pool: LinkPool, max_message_size: int) -> None:
        self._config = config
        self._context = context
        self._pool = pool
        largest = max_message_size - (ENVELOPE_BYTES if config.partition_key else 0)
        self._limits = Limits(max_bytes=largest, max_message_bytes=largest)
        self._partition_id = config.partition_id
        self._doing = f"send to event hub {config.place().hub}"
        self._encoder = EventEncoder(attributes=config.attributes, content_type=config.content_type)
        self._template = None if config.partition_key is None else KeyTemplate.parse(config.partition_key, unique=False)
        self._keys: TopicCache[str, str] = TopicCache(lambda topic: self._made(Message(topic, b"", 0)))

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EventHubsConfig, context: SinkContext) -> AsyncIterator[Self]:
        await load("edgerouter_azure.event_hubs.link_pool", "edgerouter_azure.event_hubs.producer_link")
        from edgerouter_azure.event_hubs.link_pool import LinkPool  # noqa: PLC0415  (brings the SDK, 106 ms and 11 MB)
        from edgerouter_azure.event_hubs.producer_link import ProducerLink  # noqa: PLC0415  (brings the SDK, 106 ms and 11 MB)

        place = config.place()
        doing = f"connect to event hub {place.hub} at {config.endpoint or place.host}"
        await load_authorities(config.ca_file)  # the SDK does so while it connects, and does not say which file it has not found
        seconds = min(config.connect_timeout, _PROBE_SECONDS) if context.probe else config.connect_timeout
        async with _client(config, place) as client:

            async def connect() -> ProducerLink:
                try:
                    async with asyncio.timeout(seconds) as bound:
                        return await ProducerLink.open(client, config.partition_id)
                except TimeoutError as error:
                    if not bound.expired():
                        raise translate_at_opening(error, doing, hint=_HINT) from cause(config, error)
                    raise Unavailable(
                        f"{doing}: nothing answered in AMQP within {seconds:g} s; is this the address of an event hub?"
                    ) from cause(config, error)
                except Exception as error:  # noqa: BLE001  (the SDK raises many types, of which the table makes ours)
                    raise translate_at_opening(error, doing, hint=_HINT) from cause(config, error)

            async with LinkPool(connect, config.keep_alive, context.name) as pool:
                first = await pool.take()
                pool.give_back(first)
                yield cls(config, context, pool, first.max_message_size)

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def partitioned(self) -> bool:
        return self._template is not None

    @property
    def ordered(self) -> bool:
        return self._template is not None or self._partition_id is not None

    def size_of(self, message: Message) -> int:
        return self._encoder.sizes_of([message], self._key_of(message))[0]

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        return self._encoder.sizes_of(messages) if self._template is None else super().sizes_of(messages)

    def partition_of(self, message: Message) -> Hashable:
        return self._key_of(message)

    def order_of(self, message: Message) -> Hashable:
        return self._key_of(message) if self._partition_id is None else self._partition_id

    async def write(self, batch: Sequence[Message]) -> Outcome:
        from edgerouter_azure.event_hubs.producer_link import SendRejected  # noqa: PLC0415  (see open)

        payload = self._encoder.batch(batch, self._key_of(batch[0]))
        link = await self._pool.take()
        try:
            await link.send(payload)
        except SendRejected as rejection:
            self._pool.give_back(link)
            raise translate_condition(rejection.condition, rejection.text, self._doing, hint=_HINT) from rejection
        except Exception as error:  # noqa: BLE001  (the SDK raises many types, of which the table makes ours)
            self._pool.drop(link)
            raise translate(error, self._doing, hint=_HINT) from cause(self._config, error)
        except asyncio.CancelledError:
            self._pool.drop(link)  # the outcome is unknown, and may arrive when no caller waits for it
            self._pool.distrust()
            raise
        self._pool.give_back(link)
        return DELIVERED

    def _key_of(self, message: Message) -> str | None:
        if self._template is None:
            return None
        return self._keys[message.topic] if self._template.topic_decides else self._made(message)

    def _made(self, message: Message) -> str:
        assert self._template is not None, "asked for where there is one"
        return _fit(self._template.key_of([message], self._context))


def _fit(key: str) -> str:
    """A key of at most 128 characters; two long keys never become one."""
    if len(key) <= MAX_KEY_CHARACTERS:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return key[: MAX_KEY_CHARACTERS - len(digest) - 1] + "-" + digest


@asynccontextmanager
async def _client(config: EventHubsConfig, place: Place) -> AsyncIterator[EventHubProducerClient]:
    from azure.core.credentials import AzureSasCredential  # noqa: PLC0415  (see open)
    from azure.eventhub.aio import EventHubProducerClient  # noqa: PLC0415  (see open)

    options: dict[str, Any] = client_options(config, place)

    def make(credential: Any) -> EventHubProducerClient:
        return EventHubProducerClient(place.host, place.hub, credential, **options)

    if place.signature:
        yield make(AzureSasCredential(place.signature))
    elif place.key:
        yield make(SharedKeyCredential(place.policy, place.key, config.token_lifetime))
    else:
        async with open_credential(config) as credential:
            yield make(credential)
