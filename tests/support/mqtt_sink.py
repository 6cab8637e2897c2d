"""An MQTT sink at a broker, and what its subscribers get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiomqtt

from edgerouter import SinkContext
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.sink import MqttSink
from support.mosquitto import Mosquitto

CONTEXT = SinkContext("out", "edge-1", "5p00l")


@asynccontextmanager
async def consumer(broker: Mosquitto, topics: Sequence[str] = ("#",)) -> AsyncIterator[list[aiomqtt.Message]]:
    """Yield all messages that subscribers get, as they arrive."""
    got: list[aiomqtt.Message] = []

    class Direct(asyncio.Queue[aiomqtt.Message]):
        """Receives messages without the tasks that aiomqtt's iterator creates."""

        def put_nowait(self, item: aiomqtt.Message) -> None:
            got.append(item)

    async with AsyncExitStack() as stack:
        stack.push_async_exit(_ignore_a_broker_that_is_gone)
        client = await stack.enter_async_context(
            aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5, timeout=3, queue_type=Direct)
        )
        for topic in topics:
            await client.subscribe(topic, qos=1)
        yield got


async def _ignore_a_broker_that_is_gone(kind: type[BaseException] | None, *_: object) -> bool:
    return kind is not None and issubclass(kind, aiomqtt.MqttError)


@asynccontextmanager
async def opened(broker: Mosquitto, **config: Any) -> AsyncIterator[MqttSink]:
    async with MqttSink.open(MqttSinkConfig.model_validate({"url": broker.url, **config}), CONTEXT) as sink:
        yield sink


async def until(got: Sequence[Any], count: int) -> None:
    async with asyncio.timeout(10):
        while len(got) < count:
            await asyncio.sleep(0.01)
