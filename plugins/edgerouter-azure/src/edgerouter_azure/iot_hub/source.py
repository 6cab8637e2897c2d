"""Source `azure-iot-hub`: cloud-to-device messages, completed once they are safe in the spool; direct methods are refused."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

from edgerouter import Delivery, Message, Source, SourceContext
from edgerouter.mqtt import Connection, Incoming
from edgerouter.receiving import ReceivedTopic, Subscription, Topics, TopicSource
from edgerouter_azure.iot_hub.bag import parse_bag, received
from edgerouter_azure.iot_hub.connection import DeviceConnection, sharing
from edgerouter_azure.iot_hub.probe import probe
from edgerouter_azure.iot_hub.source_config import IotHubSourceConfig

_METHOD: Final = re.compile(r"\$iothub/methods/POST/[^/]+/\?\$rid=([0-9A-Za-z-]{1,64})")
_NOT_IMPLEMENTED: Final = b'{"error": "this device runs no direct methods; send a cloud-to-device message"}'


class IotHubSource(Source[IotHubSourceConfig]):
    """Receives over the device's connection."""

    def __init__(self, config: IotHubSourceConfig, context: SourceContext, connection: DeviceConnection) -> None:
        device = connection.device.id
        self._topic = ReceivedTopic(config.topic, TopicSource(device, context.name, context.host))
        self._bags = f"devices/{device}/messages/devicebound/"
        topics = Topics({f"{self._bags}#": 1, "$iothub/methods/POST/#": 0})
        self.subscription = Subscription(context, config, topics, connection.where, self._make)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: IotHubSourceConfig, context: SourceContext) -> AsyncIterator[Self]:
        """Start to receive; `deliveries` raises where the hub refuses the device."""
        async with sharing(config) as connection:
            source = cls(config, context, connection)
            if context.probe:
                await probe(config)
                context.connected(True, "")
                yield source
                return
            async with connection.receiving(source.subscription):
                yield source

    def deliveries(self) -> AsyncIterator[Delivery]:
        return self.subscription.inbox.deliveries()

    def stop(self) -> None:
        self.subscription.inbox.stop()

    def _make(self, connection: Connection, incoming: Incoming) -> Message | None:
        if not incoming.topic.startswith(self._bags):
            if method := _METHOD.fullmatch(incoming.topic):
                connection.answer(f"$iothub/methods/res/501/?$rid={method[1]}", _NOT_IMPLEMENTED)
            return None
        system, application = parse_bag(incoming.topic.removeprefix(self._bags))
        topic = self._topic.of(dict(application))
        return Message(topic, incoming.payload, time.time_ns(), incoming.qos, False, received(system, application))
