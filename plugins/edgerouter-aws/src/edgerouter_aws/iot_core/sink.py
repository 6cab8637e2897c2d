"""Sink `aws-iot-core`: publishes within the limits of one connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

from edgerouter import Failure, Limits, Message, Outcome, Rejected, Sink, SinkContext
from edgerouter.mqtt import Publication, Publisher, message_properties, outcome
from edgerouter_aws.iot_core.config import IotCoreConfig
from edgerouter_aws.iot_core.connection import connecting
from edgerouter_aws.iot_core.topic import Topics

_LARGEST: Final = 128 * 1024
"""Bytes of a payload: https://docs.aws.amazon.com/general/latest/gr/iot-core.html#message-broker-limits"""
_LARGEST_USER: Final = 8 * 1024
"""Bytes of all user properties; and of the correlation data."""
_LONGEST_TEXT: Final = 256
"""Bytes of the content type; and of the response topic."""
_OF_TIME: Final = 0.7
"""Share of the router's time after which nothing more is sent; the rest is for answers."""


class IotCoreSink(Sink[IotCoreConfig]):
    """Publishes over one connection, which takes 100 messages a second; `concurrency` does not make it faster."""

    partitioned, ordered = False, True

    def __init__(self, config: IotCoreConfig, context: SinkContext, publisher: Publisher) -> None:
        self._config = config
        self._publisher = publisher
        self._topics = Topics(config.topic, context)
        self._seconds = context.timeout * _OF_TIME
        self._where = f"IoT Core at {config.endpoint}"

    @classmethod
    @asynccontextmanager
    async def open(cls, config: IotCoreConfig, context: SinkContext) -> AsyncIterator[Self]:
        client_id = config.client_id or f"edgerouter-{context.spool[:12]}-{context.name}"
        if context.probe:
            client_id += "-check"  # the service ends the connection of a running sink of the same client id
        retains = config.retain != "never"
        async with connecting(config, client_id, f"aws-iot-core sink {context.name}", retains=retains) as publisher:
            await publisher.connected()
            yield cls(config, context, publisher)

    @property
    def limits(self) -> Limits:
        return Limits(max_message_bytes=_LARGEST)

    def order_of(self, message: Message) -> Hashable:
        return message.topic

    async def write(self, batch: Sequence[Message]) -> Outcome:
        publications, places, failed = [], [], []
        for place, message in enumerate(batch):
            try:
                publications.append(self._publication(message))
                places.append(place)
            except Rejected as error:
                failed.append(Failure(place, error))
        if not publications:
            return Outcome(failed)
        link = await self._publisher.connected()
        results = await link.publish(publications, self._seconds, qos=self._config.qos)
        return outcome(results, publications, places, self._where, failed)

    def _publication(self, message: Message) -> Publication:
        retain = message.retained if self._config.retain == "same" else self._config.retain == "always"
        properties = b""
        if self._config.protocol == "5":
            _check_properties(message)
            properties = message_properties(message, self._config.id_property)
        return Publication(self._topics.template.of(message), message.payload, retain, properties)


def _check_properties(message: Message) -> None:
    given = message.properties
    if given is None:
        return
    user = sum(len(name.encode()) + len(value.encode()) for name, value in given.user)
    if max(user, len(given.correlation_data or b"")) > _LARGEST_USER:
        raise Rejected(f"the user properties or the correlation data are larger than the {_LARGEST_USER} bytes that IoT Core takes")
    if max(len((given.content_type or "").encode()), len((given.response_topic or "").encode())) > _LONGEST_TEXT:
        raise Rejected(f"the content type or the response topic is longer than the {_LONGEST_TEXT} bytes that IoT Core takes")
