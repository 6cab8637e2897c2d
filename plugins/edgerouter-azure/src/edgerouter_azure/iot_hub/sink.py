"""Sink `azure-iot-hub`: messages of a device, one publish each, or many in a pack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

from edgerouter import DELIVERED, Failure, Limits, Message, Outcome, Rejected, Sink, SinkContext
from edgerouter.mqtt import Answer, Publication, Untried, outcome
from edgerouter.objects import encode, size_of
from edgerouter_azure.iot_hub.bag import Bags, bag_of_pack
from edgerouter_azure.iot_hub.config import IotHubConfig
from edgerouter_azure.iot_hub.connection import DeviceConnection, as_throttled, sharing
from edgerouter_azure.iot_hub.probe import probe

_LARGEST: Final = 256 * 1024
"""Bytes of a message with its properties: https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling"""
_LONGEST_TOPIC: Final = 65_535
_PACK_OVERHEAD: Final = 512
"""Bytes that the properties of a pack, and compression that makes nothing smaller, take at most."""
_OF_TIME: Final = 0.7
"""Share of the router's time after which nothing more is sent; the rest is for answers."""


class IotHubSink(Sink[IotHubConfig]):
    """Publishes as a device. The hub throttles by closing the connection, so what is not answered is sent again."""

    partitioned, ordered = False, True

    def __init__(self, config: IotHubConfig, context: SinkContext, connection: DeviceConnection) -> None:
        self._config = config
        self._connection = connection
        self._seconds = context.timeout * _OF_TIME
        self._start = f"devices/{connection.device.id}/messages/events/"
        self._bags = Bags(properties=config.properties, content_type=config.content_type, content_encoding=config.content_encoding)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: IotHubConfig, context: SinkContext) -> AsyncIterator[Self]:
        async with sharing(config) as connection:
            # a hub would end the connection of a running router for that of a probe
            await (probe(config) if context.probe else connection.connected())
            yield cls(config, context, connection)

    @property
    def limits(self) -> Limits:
        if self._config.pack == "none":
            return Limits(max_message_bytes=_LARGEST)
        return Limits(max_bytes=_LARGEST - _PACK_OVERHEAD, max_message_bytes=_LARGEST - _PACK_OVERHEAD)

    def size_of(self, message: Message) -> int:
        if self._config.pack == "none":
            return len(message.payload) + len(self._bags.of(message))
        return size_of(message, self._config.pack_framing)

    def order_of(self, message: Message) -> Hashable:
        return message.topic

    async def write(self, batch: Sequence[Message]) -> Outcome:
        if self._config.pack != "none":
            return await self._write_pack(batch)
        publications, places, failed = [], [], []
        for place, message in enumerate(batch):
            topic = self._start + self._bags.of(message)
            if len(topic) > _LONGEST_TOPIC:
                failed.append(Failure(place, Rejected("the properties are longer than 65,535 bytes, which MQTT does not allow")))
                continue
            publications.append(Publication(topic, message.payload, retain=False))
            places.append(place)
        if not publications:
            return Outcome(failed)
        link = await self._connection.connected()
        results = await link.publish(publications, self._seconds, qos=self._config.qos)
        results = [as_throttled(result, link) for result in results]
        return outcome(results, publications, places, self._connection.where, failed)

    async def _write_pack(self, batch: Sequence[Message]) -> Outcome:
        gzip = self._config.pack == "gzip"
        payload = encode(batch, self._config.pack_framing, "gzip" if gzip else "none")
        topic = self._start + bag_of_pack(batch[0], batch[-1], len(batch), gzip=gzip)
        link = await self._connection.connected()
        (result,) = await link.publish([Publication(topic, payload, retain=False)], self._seconds, qos=self._config.qos)
        result = as_throttled(result, link)
        if isinstance(result, Untried):
            return Outcome(untried=range(len(batch)))
        if not isinstance(result, Answer):
            raise result
        return DELIVERED
