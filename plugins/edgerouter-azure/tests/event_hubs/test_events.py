"""Events carry what the message knows, and other clients of Event Hubs read it.

Covers: edgerouter_azure.event_hubs.encoding, edgerouter_azure.event_hubs.sink.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

from azure.eventhub.aio import EventHubConsumerClient

from edgerouter import Properties
from edgerouter.testing import make_message
from edgerouter_azure.event_hubs.sink import EventHubsSink
from support.amqp.conformance import EventHubsServer
from support.mqtt_source import eventually
from support.sinks import opened as open_sink


def opened(server: EventHubsServer, **fields: Any) -> AbstractAsyncContextManager[EventHubsSink]:
    return open_sink(EventHubsSink, {"connection_string": server.connection_string(), **fields})


async def test_an_event_carries_what_the_message_knows(server: EventHubsServer) -> None:
    properties = Properties(
        (("unit", "C"), ("unit", "K"), ("topic", "other")), "application/cbor", "answers/1", b"\x00\x01", 60, True
    )
    async with opened(server, content_type="text/plain") as sink:
        await sink.write([make_message(b"\xff", qos=2, retained=True, properties=properties), make_message(b"plain", sequence=2)])
    rich, plain = (event.message for event in server.hub.events)
    assert rich.properties == {
        "message-id": "5p00l-1", "reply-to": "answers/1", "correlation-id": b"\x00\x01", "content-type": "application/cbor",
        "creation-time": 1_795_168_800_124,
    }  # fmt: skip
    assert rich.application_properties == {
        "topic": "plant/line-1/temperature", "qos": 2, "retained": True, "unit": "C,K", "user_topic": "other",
    }  # fmt: skip
    assert plain.properties["content-type"] == "text/plain"
    assert plain.application_properties == {"topic": "plant/line-1/temperature", "qos": 1, "retained": False}


async def test_attributes_can_be_left_out(server: EventHubsServer) -> None:
    async with opened(server, attributes=False) as sink:
        await sink.write([make_message(properties=Properties((("unit", "C"),)))])
    assert server.hub.events[0].message.application_properties == {}


async def test_the_size_of_a_message_is_exact(server: EventHubsServer) -> None:
    sizes: list[int] = []
    server.service.faults.on_delivery = lambda _number, payload: sizes.append(len(payload))
    messages = [
        make_message(b"x" * length, properties=properties, topic=topic, sequence=10**places)
        for length in (0, 1, 200, 255, 256, 300, 70_000)
        for properties in (None, Properties(), Properties((("ü", "v" * 300),), "a/b", "r" * 300, b"c" * 300))
        for topic in ("t", "温度/" * 80, "x" * 600)
        for places in (0, 12)
    ]
    async with opened(server) as sink:
        for message in messages:
            await sink.write([message])
        assert sizes == [sink.size_of(message) for message in messages]


async def test_the_consumer_of_the_sdk_reads_the_same_events(server: EventHubsServer) -> None:
    """The test server shares no code with the SDK; the SDK's own consumer has the last word on the encoding."""
    properties = Properties((("unit", "°C"),), "application/json")
    async with opened(server, partition_key="{topic}") as sink:
        await sink.write([make_message(b"\x00" * 300, properties=properties), make_message(b"", sequence=2)])
    got: list[Any] = []

    async def take(_: Any, events: list[Any]) -> None:
        got.extend(events)

    client = EventHubConsumerClient.from_connection_string(server.connection_string(), "$default")
    receiving = asyncio.create_task(client.receive_batch(take, starting_position="-1"))
    await eventually(lambda: len(got) >= 2)
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    await client.close()
    first, second = got
    assert (first.body_as_str(), second.body_as_str()) == ("\x00" * 300, "")
    assert (first.message_id, first.content_type, first.partition_key) == (
        "5p00l-1",
        "application/json",
        b"plant/line-1/temperature",
    )
    assert first.properties == {b"topic": b"plant/line-1/temperature", b"qos": 1, b"retained": False, b"unit": "°C".encode()}
