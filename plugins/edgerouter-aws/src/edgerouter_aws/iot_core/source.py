"""Source `aws-iot-core`: messages of a persistent session, acknowledged once they are safe in the spool."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

from edgerouter import Delivery, Message, Source, SourceContext
from edgerouter.mqtt import Connection, Incoming
from edgerouter.receiving import ReceivedTopic, Subscription, Topics, TopicSource
from edgerouter_aws.iot_core.connection import connecting
from edgerouter_aws.iot_core.source_config import RECEIVE_MAXIMUM, IotCoreSourceConfig

_ID: Final = "edgerouter-id"
"""User property that the sink sets."""


class IotCoreSource(Source[IotCoreSourceConfig]):
    """Receives over a connection of its client id."""

    def __init__(self, config: IotCoreSourceConfig, context: SourceContext) -> None:
        self._topic = ReceivedTopic(config.topic, TopicSource(config.endpoint, context.name, context.host))
        self._own = f"{context.spool}-" if config.skip_own else None
        topics = Topics(dict.fromkeys(config.topics, config.qos), int(config.session_expiry), RECEIVE_MAXIMUM)
        self.subscription = Subscription(context, config, topics, f"IoT Core at {config.endpoint}", self._make)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: IotCoreSourceConfig, context: SourceContext) -> AsyncIterator[Self]:
        """Start to receive; `deliveries` raises where the service refuses the client."""
        client_id = config.client_id or f"edgerouter-{(context.identity or context.spool)[:12]}-{context.name}"
        if context.probe:
            client_id += "-check"  # the service ends the connection of a running source of the same client id
        source = cls(config, context)
        async with connecting(config, client_id, f"aws-iot-core source {context.name}") as publisher:
            if context.probe:
                await publisher.connected()  # without a session or a subscription
                context.connected(True, "")
                yield source
                return
            publisher.subscribe(source.subscription)
            async with source.subscription.running(publisher.connected):
                yield source

    def deliveries(self) -> AsyncIterator[Delivery]:
        return self.subscription.inbox.deliveries()

    def stop(self) -> None:
        self.subscription.inbox.stop()

    def _make(self, _: Connection, incoming: Incoming) -> Message | None:
        properties = incoming.properties
        user = properties.user if properties is not None else ()
        if self._own is not None and any(name == _ID and value.startswith(self._own) for name, value in user):
            return None
        topic = self._topic.of({**dict(user), "topic": incoming.topic})
        return Message(topic, incoming.payload, time.time_ns(), incoming.qos, incoming.retained, properties)
