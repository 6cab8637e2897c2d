"""Messages that come in over a publisher's connection are held within bounds, and acknowledged once stored.

Covers also: edgerouter.mqtt.incoming.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edgerouter.message import Message
from edgerouter.mqtt.incoming import Connection, Incoming, parse_publish
from edgerouter.mqtt.link import Policy
from edgerouter.mqtt.packets import MalformedPacket
from edgerouter.mqtt.publications import Answer, Publication
from edgerouter.mqtt.publisher import Publisher
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.receiving.source import ReceivingConfig
from edgerouter.receiving.subscription import Subscription, Topics
from edgerouter.source import SourceContext
from support.mqtt_packets import Connect, publish
from support.mqtt_source import eventually
from support.strict_broker import StrictBroker, strict_broker


class Receiving:
    """A subscription and what it reported."""

    def __init__(self, most: int) -> None:
        self.dropped: list[str] = []
        self.states: list[tuple[bool, str]] = []
        context = SourceContext(
            "in",
            "edge-1",
            "5p00l",
            flush_now=lambda: None,
            dropped=lambda topic, _count, _reason: self.dropped.append(topic),
            connected=lambda *state: self.states.append(state),
        )
        config = ReceivingConfig(max_unacknowledged=most)
        self.subscription = Subscription(context, config, Topics({"a/#": 1}, 60, 50), "the broker", self._make)

    def _make(self, _: Connection, incoming: Incoming) -> Message:
        return Message(incoming.topic, incoming.payload, 1, incoming.qos)


@asynccontextmanager
async def receiving(broker: StrictBroker, most: int = 100) -> AsyncIterator[tuple[Receiving, Publisher]]:
    publisher = Publisher(BrokerSettings(url=broker.url), Policy("client", 1, 100, retains=False), "5", "test")
    inside = Receiving(most)
    publisher.subscribe(inside.subscription)
    try:
        async with inside.subscription.running(publisher.connected):
            await eventually(lambda: (True, "") in inside.states)
            yield inside, publisher
    finally:
        await publisher.close()


async def test_one_connection_carries_both_directions() -> None:
    async with strict_broker() as broker, receiving(broker) as (inside, publisher):
        broker.clients[0].send(publish("a/b", b"in", 1, 3, properties=b""))
        delivery = await anext(inside.subscription.inbox.deliveries())
        link = await publisher.connected()
        assert await link.publish([Publication("t", b"out", retain=False, properties=b"\x00")]) == [Answer(0)]
        delivery.acknowledge()
        await eventually(lambda: broker.clients[0].answers == [(0x40, 3)])
    assert len(broker.attempts) == 1
    assert not broker.attempts[0].clean


async def test_a_flood_of_qos_0_is_dropped_and_counted_beyond_the_bound() -> None:
    async with strict_broker() as broker, receiving(broker, most=2) as (inside, _):
        broker.clients[0].send(publish("a/b", b"in", properties=b"") * 5)
        await eventually(lambda: len(inside.dropped) == 3)
        assert inside.subscription.inbox.messages == 2


async def test_a_broker_that_ignores_the_window_is_left_with_its_messages() -> None:
    async with strict_broker() as broker, receiving(broker, most=2) as (inside, _):
        broker.clients[0].send(b"".join(publish("a/b", b"in", 1, number, properties=b"") for number in range(1, 9)))
        await eventually(broker.clients[0].gone.is_set)
        assert inside.subscription.inbox.messages == 2
        assert any("more messages came in" in reason for _, reason in inside.states)
    assert broker.attempts[0].properties.endswith(b"\x21\x00\x02")


async def test_a_connection_is_replaced_after_its_messages_are_stored() -> None:
    async with strict_broker() as broker, receiving(broker) as (inside, publisher):
        broker.clients[0].send(publish("a/b", b"in", 1, 3, properties=b""))
        delivery = await anext(inside.subscription.inbox.deliveries())
        link = await publisher.connected()
        link.retire()
        replacing = asyncio.create_task(publisher.connected())
        await asyncio.sleep(0)
        delivery.acknowledge()
        assert await replacing is not link
        assert broker.clients[0].answers == [(0x40, 3)]


async def test_a_connection_that_is_being_made_for_publishing_alone_is_replaced_without_trouble() -> None:
    async with strict_broker() as broker:
        publisher = Publisher(BrokerSettings(url=broker.url), Policy("client", 1, 100, retains=False), "5", "test")
        inside = Receiving(10)

        def subscribe_meanwhile(_: Connect) -> int:
            publisher.subscribe(inside.subscription)
            return 0

        broker.admit = subscribe_meanwhile
        link = await publisher.connected()
        async with inside.subscription.running(publisher.connected):
            await eventually(lambda: bool(inside.states))
            assert await publisher.connected() is link
        await publisher.close()
    assert inside.states == [(True, "")]
    assert [each.clean for each in broker.attempts] == [True, False]


@pytest.mark.parametrize("body", [b"", b"\x00\x00", b"\x00\x05a", b"\x00\x01a\x00"])
def test_a_packet_that_is_cut_off_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedPacket):
        parse_publish(0x32, body, version5=False)
