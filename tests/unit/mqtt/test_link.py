"""A connection that publishes answers for every message, whatever becomes of the connection.

Covers also: edgerouter.mqtt.aliases, edgerouter.mqtt.pace, edgerouter.mqtt.publications.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edgerouter.errors import Throttled, Unauthorized
from edgerouter.mqtt.calls import ConnectFailed
from edgerouter.mqtt.handshakes import Handshakes
from edgerouter.mqtt.link import Link, Policy
from edgerouter.mqtt.publications import UNTRIED, Answer, Publication
from edgerouter.mqtt.settings import BrokerSettings
from support.mqtt_packets import publish
from support.mqtt_source import eventually
from support.strict_broker import Client, Published, StrictBroker, acknowledge, strict_broker

BOTH_VERSIONS = pytest.mark.parametrize("version5", [True, False], ids=["5", "3.1.1"])


@asynccontextmanager
async def linked(broker: StrictBroker, *, version5: bool = True, **policy: Any) -> AsyncIterator[Link]:
    """Connect to the broker."""
    wanted: dict[str, Any] = {"client_id": "publisher", "qos": 1, "max_inflight": 100, "retains": False} | policy
    link = await Link.connect(BrokerSettings(url=broker.url), Policy(**wanted), Handshakes(100), version5=version5)
    try:
        yield link
    finally:
        await link.close()


def publications(link: Link, *payloads: bytes) -> list[Publication]:
    return [Publication("t", each, retain=False, properties=b"\x00" if link.version5 else b"", key=str(each)) for each in payloads]


async def test_each_message_is_answered_with_the_brokers_reason_code_in_the_order_given() -> None:
    codes = {b"taken": 0, b"no subscriber": 0x10, b"refused": 0x87, b"not in the specification": 0xFE}
    async with strict_broker() as broker, linked(broker) as link:
        broker.puback = lambda client, published: acknowledge(client, published, codes[published.payload])

        answers = await link.publish(publications(link, *codes))

    assert answers == [Answer(code) for code in codes.values()]


@BOTH_VERSIONS
async def test_what_was_not_answered_when_the_connection_ended_fails(version5: bool) -> None:
    def hang_up_on_the_second(client: Client, published: Published) -> bytes | None:
        if published.payload == b"1":
            return acknowledge(client, published)
        client.writer.transport.abort()
        return None

    async with strict_broker() as broker, linked(broker, version5=version5, max_inflight=1) as link:
        broker.puback = hang_up_on_the_second

        first, *others = await link.publish(publications(link, b"1", b"2", b"3"))

        assert first == Answer(0)
        assert link.lost is not None
        assert others == [link.lost] * 2
        assert broker.url.removeprefix("mqtt://") in str(link.lost)


async def test_the_brokers_reason_for_the_end_is_the_error_of_what_was_in_flight() -> None:
    def disconnect(client: Client, _: Published) -> None:
        client.send(b"\xe0\x02\x97\x00")  # quota exceeded

    async with strict_broker() as broker, linked(broker) as link:
        broker.puback = disconnect

        (error,) = await link.publish(publications(link, b"1"))

    assert isinstance(error, Throttled)
    assert "Quota exceeded" in str(error)


@pytest.mark.parametrize(
    ("version5", "qos", "receive_maximum", "most"),
    [(True, 1, b"\x21\x00\x03", 3), (True, 1, b"", 50), (False, 1, b"", 50), (False, 2, b"", 20)],
)
async def test_no_more_messages_are_in_flight_than_the_broker_and_the_policy_allow(
    version5: bool, qos: int, receive_maximum: bytes, most: int
) -> None:
    """A broker of 3.1.1 cannot say how many handshakes of QoS 2 it takes, and mosquitto hangs up on more than 20."""
    in_flight = widest = 0

    def answer_later(client: Client, published: Published) -> None:
        nonlocal in_flight, widest
        in_flight += 1
        widest = max(widest, in_flight)
        asyncio.get_running_loop().call_later(0.01, answer, client, published)

    def answer(client: Client, published: Published) -> None:
        nonlocal in_flight
        in_flight -= qos == 1
        client.send(acknowledge(client, published))

    def complete(_: Client, identifier: int) -> bytes:
        nonlocal in_flight
        in_flight -= 1
        return b"\x70\x02" + identifier.to_bytes(2)

    async with strict_broker() as broker:
        broker.connack_properties, broker.puback, broker.pubcomp = receive_maximum, answer_later, complete
        async with linked(broker, version5=version5, qos=qos, max_inflight=50) as link:
            answers = await link.publish(publications(link, *(b"%d" % number for number in range(120))))

    assert answers == [Answer(0)] * 120
    assert widest == most


@pytest.mark.parametrize(
    ("properties", "policy", "advice"),
    [
        (b"\x25\x00", {"retains": True}, "set `retain: never`"),
        (b"\x24\x00", {"qos": 1}, "set `qos: 0`"),
        (b"\x24\x01", {"qos": 2}, "set `qos: 1`"),
    ],
)
async def test_a_broker_that_cannot_do_what_the_policy_asks_for_is_left_at_once(
    properties: bytes, policy: dict[str, Any], advice: str
) -> None:
    async with strict_broker() as broker:
        broker.connack_properties = properties

        with pytest.raises(ConnectFailed, match=advice) as failed:
            async with linked(broker, **policy):
                pass

        assert isinstance(failed.value.error, Unauthorized)
        await asyncio.wait_for((await broker.client()).gone.wait(), 20)
        assert broker.published == []


async def test_a_publish_that_is_given_up_cuts_the_connection() -> None:
    """A message that still waits for the socket must not go out after the router has settled it otherwise."""
    async with strict_broker() as broker, linked(broker, max_inflight=1) as link:
        broker.puback = lambda *_: None
        publishing = asyncio.create_task(link.publish(publications(link, b"1", b"2")))
        await eventually(lambda: bool(broker.published))

        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing

        assert "given up" in str(link.lost)
        await asyncio.wait_for(broker.clients[0].gone.wait(), 20)
    assert [each.payload for each in broker.published] == [b"1"]


@BOTH_VERSIONS
async def test_a_message_that_was_not_subscribed_to_disturbs_nothing(version5: bool) -> None:
    async with strict_broker() as broker:
        broker.greeting = publish("t", b"x" * 1000, properties=b"" if version5 else None)
        async with linked(broker, version5=version5) as link:
            assert await link.publish(publications(link, b"1")) == [Answer(0)]
            assert link.lost is None


@pytest.mark.parametrize(("qos", "body"), [(1, b""), (2, b"\x00\x05\x11\x00\x00\x00\x00")])
async def test_closing_disconnects_and_leaves_no_session(qos: int, body: bytes) -> None:
    async with strict_broker() as broker:
        async with linked(broker, qos=qos) as link:
            pass

        assert "closed" in str(link.lost)
        await asyncio.wait_for(broker.clients[0].gone.wait(), 20)
    assert broker.goodbyes == [body]


async def test_what_is_not_sent_within_the_time_of_a_call_is_untried_and_the_connection_stays() -> None:
    async with strict_broker() as broker, linked(broker, max_inflight=1) as link:
        broker.puback = lambda client, published: acknowledge(client, published) if len(broker.published) > 1 else None
        asyncio.get_running_loop().call_later(0.1, lambda: broker.clients[0].send(b"\x40\x02\x00\x01"))

        answers = await link.publish(publications(link, b"1", b"2"), seconds=0.02)

        assert answers == [Answer(0), UNTRIED]
        assert await link.publish(publications(link, b"3")) == [Answer(0)]
    assert [each.payload for each in broker.published] == [b"1", b"3"]


async def test_a_pace_is_kept_in_every_second() -> None:
    times: list[float] = []

    def note(client: Client, published: Published) -> bytes:
        times.append(asyncio.get_running_loop().time())
        return acknowledge(client, published)

    async with strict_broker() as broker, linked(broker, publishes_per_second=200) as link:
        broker.puback = note
        assert await link.publish(publications(link, *(b"%d" % number for number in range(220)))) == [Answer(0)] * 220
    assert max(sum(begin <= each < begin + 1 for each in times) for begin in times) <= 200
    assert times[-1] - times[0] >= 0.9


async def test_topics_are_written_once_where_the_broker_takes_aliases() -> None:
    async with strict_broker() as broker:
        broker.connack_properties = b"\x22\x00\x02"
        async with linked(broker) as link:
            topics = ["plant/1", "plant/2", "plant/3", "x"] * 3
            await link.publish([Publication(topic, b"1", retain=False, properties=b"\x02\x01\x01") for topic in topics])
    assert broker.faults == []
    assert [each.topic for each in broker.published] == topics
    assert broker.clients[0].aliases == {1: "plant/1", 2: "plant/2"}


async def test_a_broker_that_hangs_up_is_distinguished_from_a_broken_network() -> None:
    def hang_up(client: Client, _: Published) -> None:
        client.writer.transport.close()

    def reset(client: Client, _: Published) -> None:
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()

    for end, hung_up in ((hang_up, True), (reset, False)):
        async with strict_broker() as broker, linked(broker) as link:
            broker.puback = end
            await link.publish(publications(link, b"1"))
            assert link.hung_up is hung_up
