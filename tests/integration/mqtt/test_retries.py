"""A broker that sends a message again on the same connection, as MQTT 3.1.1 allows, gets one answer, and it is stored once.

Covers: edgerouter.sources.mqtt.retries, edgerouter.sources.mqtt.redelivery.
"""

from __future__ import annotations

import asyncio

import pytest

from support.mqtt_packets import publish
from support.mqtt_source import opened
from support.strict_broker import strict_broker

AGAIN = 8
"""DUP flag of a PUBLISH."""


@pytest.mark.parametrize(("qos", "answer"), [(1, 0x40), (2, 0x50)])
async def test_a_message_sent_again_before_its_answer_is_stored_once_and_answered_once(qos: int, answer: int) -> None:
    async with strict_broker() as broker, opened(broker.url, qos=qos, protocol="3.1.1") as source:
        await source.connected()
        client = await broker.client()
        first = [publish("t", b"%d" % number, qos, number) for number in (1, 2, 3)]
        client.send(publish("other", b"", 0) + b"".join(first))
        delivery = await source.delivery()
        again = [publish("t", b"%d" % number, qos, number, flags=AGAIN) for number in (1, 2, 3)]
        client.send(publish("t", b"4", qos, 4) + b"".join(again) + publish("t", b"4", qos, 4, flags=AGAIN) + publish("end", b"", 0))
        following = [await source.delivery()]
        while following[-1].messages[-1].topic != "end":
            following.append(await source.delivery())
        assert [message.payload for message in delivery.messages] == [b"", b"1", b"2", b"3"]
        assert [message.payload for each in following for message in each.messages] == [b"4", b""]
        for each in (delivery, *following):
            each.acknowledge()
        async with asyncio.timeout(10):
            while (answer, 4) not in client.answers:
                await asyncio.sleep(0)
        assert [each for each in client.answers if each[0] == answer] == [(answer, number) for number in (1, 2, 3, 4)]


async def test_another_message_with_an_id_that_waits_is_stored() -> None:
    async with strict_broker() as broker, opened(broker.url, qos=2, protocol="3.1.1") as source:
        await source.connected()
        client = await broker.client()
        client.send(publish("t", b"one", 2, 1) + publish("t", b"two", 2, 1, flags=AGAIN))
        assert [message.payload for message in await source.messages(2)] == [b"one", b"two"]


async def test_a_message_sent_again_twice_after_a_lost_connection_is_stored_once() -> None:
    async with strict_broker() as broker, opened(broker.url, qos=2, protocol="3.1.1") as source:
        await source.connected()
        broker.session_present = True
        client = await broker.client()
        client.send(publish("t", b"one", 2, 1))
        delivery = await source.delivery()
        client.writer.transport.abort()
        client = await broker.client(1)
        client.send(publish("t", b"one", 2, 1, flags=AGAIN) * 2 + publish("t", b"two", 2, 2))
        (following,) = await source.messages(1, acknowledge=False)
        assert following.payload == b"two"
        delivery.acknowledge()
        async with asyncio.timeout(10):
            while (0x50, 1) not in client.answers:
                await asyncio.sleep(0)


async def test_messages_that_are_not_stored_do_not_confuse_which_message_waits() -> None:
    async with strict_broker() as broker, opened(broker.url, qos=2, protocol="3.1.1", retained="drop") as source:
        await source.connected()
        client = await broker.client()
        client.send(
            publish("t", b"kept", 1, 1) + publish("t", b"replay", 1, 2, flags=1) + publish("t", b"", 0) + publish("t", b"b", 1, 3)
        )
        client.send(publish("t", b"b", 1, 3, flags=AGAIN) + publish("t", b"kept", 1, 1, flags=AGAIN) + publish("end", b"", 0))
        found = await source.messages(4)
        assert [message.payload for message in found] == [b"kept", b"", b"b", b""]
