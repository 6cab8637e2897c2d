"""A subscriber hands on what a broker sends for its filters, and reports the end of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from edgerouter.errors import Unauthorized, Unavailable
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.mqtt.subscriber import Arrived, Subscriber
from support.mqtt_packets import publish
from support.mqtt_source import eventually
from support.strict_broker import Client, StrictBroker, strict_broker

Protocol = Literal["auto", "5", "3.1.1"]


@asynccontextmanager
async def subscribed(
    broker: StrictBroker, protocol: Protocol = "auto", largest: int = 1000
) -> AsyncIterator[tuple[Subscriber, Client, list[Arrived]]]:
    """Yield a subscriber of `#`, the broker's side of it, and what arrives."""
    got: list[Arrived] = []
    settings = BrokerSettings(url=broker.url)
    subscriber = await Subscriber.connect(settings, "reader", got.append, protocol=protocol, largest=largest)
    try:
        assert await subscriber.subscribe(["#"]) == {}
        yield subscriber, await broker.client(), got
    finally:
        await subscriber.close()


@pytest.mark.parametrize(("protocol", "qos"), [("5", 1), ("3.1.1", 0)])
async def test_messages_are_handed_on_and_acknowledged(protocol: Protocol, qos: int) -> None:
    async with strict_broker() as broker, subscribed(broker, protocol) as (_, client, got):
        properties = b"" if protocol == "5" else None
        client.send(publish("a/b", b"first", qos, 7, flags=1, properties=properties))
        client.send(publish("c", b"", qos, 8, properties=properties))
        await eventually(lambda: len(got) == 2)
        if qos:
            await eventually(lambda: client.answers == [(0x40, 7), (0x40, 8)])
    assert got == [Arrived("a/b", b"first", retained=True), Arrived("c", b"", retained=False)]
    assert broker.subscribed == [[("#", qos)]]
    assert broker.attempts[0].clean
    assert broker.faults == []


async def test_a_message_that_is_too_large_streams_by_and_the_next_one_arrives() -> None:
    async with strict_broker() as broker, subscribed(broker, "3.1.1", largest=100) as (_, client, got):
        client.send(publish("a", bytes(1_000_000)))
        client.send(publish("a", b"small"))
        await eventually(lambda: bool(got))
    assert [each.payload for each in got] == [b"small"]


async def test_an_older_broker_is_asked_in_its_own_version() -> None:
    async with strict_broker() as broker:
        broker.admit = lambda connect: 132 if connect.version == 5 else 0
        async with subscribed(broker):
            pass
    assert [each.version for each in broker.attempts] == [5, 4]


async def test_a_refused_filter_is_named_and_the_others_are_subscribed_to() -> None:
    async with strict_broker() as broker, subscribed(broker) as (subscriber, _, _got):
        broker.subscribe_codes = lambda filters: [135 if name == "secret" else qos for name, qos in filters]
        refused = await subscriber.subscribe(["open", "secret"])
        assert list(refused) == ["secret"]
        await subscriber.unsubscribe(["open"])
    assert broker.unsubscribed == ["open"]


async def test_the_end_of_the_connection_is_noticed_with_its_reason() -> None:
    async with strict_broker() as broker, subscribed(broker) as (subscriber, client, _):
        assert subscriber.lost is None
        client.writer.transport.abort()
        async with asyncio.timeout(10):
            error = await subscriber.until_lost()
        assert isinstance(error, Unavailable)
        with pytest.raises(Unavailable):
            await subscriber.subscribe(["more"])


async def test_a_broker_that_sends_nonsense_is_disconnected() -> None:
    async with strict_broker() as broker, subscribed(broker) as (subscriber, client, got):
        client.send(b"\x30\x03\x00\x09x")
        async with asyncio.timeout(10):
            await subscriber.until_lost()
    assert got == []


async def test_a_broker_that_refuses_the_connection_is_reported() -> None:
    async with strict_broker() as broker:
        broker.admit = lambda connect: 135
        with pytest.raises(Unauthorized):
            await Subscriber.connect(BrokerSettings(url=broker.url), "reader", lambda _: None)
