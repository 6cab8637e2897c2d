"""A publisher has one connection at a time, and makes a new one when it was lost or its login ends.

Covers also: edgerouter.mqtt.last_will, edgerouter.mqtt.login.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from edgerouter.errors import Unauthorized, Unavailable
from edgerouter.mqtt.last_will import LastWill
from edgerouter.mqtt.link import Policy
from edgerouter.mqtt.login import Login, MakeLogin
from edgerouter.mqtt.publications import UNTRIED, Answer, Publication
from edgerouter.mqtt.publisher import Publisher
from edgerouter.mqtt.settings import BrokerSettings
from support.mqtt_source import eventually
from support.strict_broker import Client, Published, StrictBroker, acknowledge, strict_broker

MESSAGE = Publication("t", b"x", retain=False, properties=b"\x00", key="spool-1")
Protocol = Literal["auto", "5", "3.1.1"]


@asynccontextmanager
async def publishing(
    broker: StrictBroker, protocol: Protocol = "auto", *, make_login: MakeLogin | None = None, **policy: Any
) -> AsyncIterator[Publisher]:
    """Make a publisher, and close it at the end."""
    wanted: dict[str, Any] = {"client_id": "publisher", "qos": 1, "max_inflight": 100, "retains": False} | policy
    publisher = Publisher(BrokerSettings(url=broker.url), Policy(**wanted), protocol, "test", make_login=make_login)
    try:
        yield publisher
    finally:
        await publisher.close()


async def test_the_connection_is_kept_and_made_anew_once_it_was_lost() -> None:
    async with strict_broker() as broker, publishing(broker) as publisher:
        first = await publisher.connected()
        assert await publisher.connected() is first

        broker.clients[0].writer.transport.abort()
        await eventually(lambda: first.lost is not None)

        second = await publisher.connected()
        assert second is not first
        assert await second.publish([MESSAGE]) == [Answer(0)]
    assert len(broker.attempts) == 2


async def test_all_who_wait_for_the_connection_share_one_connect() -> None:
    async with strict_broker() as broker, publishing(broker) as publisher:
        links = await asyncio.gather(*(publisher.connected() for _ in range(5)))
    assert len(set(map(id, links))) == 1
    assert len(broker.attempts) == 1


async def test_a_waiter_that_is_cancelled_does_not_cancel_the_connect() -> None:
    """A connect that is cancelled half-way would continue in its thread, as a ghost with the same client id."""
    async with strict_broker() as broker, publishing(broker) as publisher:
        waiting = asyncio.create_task(publisher.connected())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        assert (await publisher.connected()).lost is None
    assert len(broker.attempts) == 1


async def test_a_failed_connect_is_tried_again_by_the_next_call() -> None:
    async with strict_broker() as broker, publishing(broker, "5") as publisher:
        broker.admit = lambda _: 0x87
        with pytest.raises(Unauthorized, match="Not authorized"):
            await publisher.connected()

        broker.admit = lambda _: 0
        assert (await publisher.connected()).lost is None


@pytest.mark.parametrize("answer", [0x84, None], ids=["refuses the version", "hangs up"])
async def test_a_broker_of_3_1_1_is_spoken_to_in_3_1_1_at_once_and_from_then_on(answer: int | None) -> None:
    async with strict_broker() as broker, publishing(broker) as publisher:
        broker.admit = lambda connect: answer if connect.version == 5 else 0

        first = await publisher.connected()
        assert not publisher.version5
        await first.close()
        await publisher.connected()
    assert [each.version for each in broker.attempts] == [5, 4, 4]


async def test_a_configured_version_is_the_only_one_tried() -> None:
    async with strict_broker() as broker, publishing(broker, "5") as publisher:
        broker.admit = lambda _: 0x84
        with pytest.raises(Unavailable):
            await publisher.connected()
    assert [each.version for each in broker.attempts] == [5]


def later(client: Client, published: Published) -> None:
    """Answer after a round trip."""
    asyncio.get_running_loop().call_later(0.02, lambda: client.send(acknowledge(client, published)))


async def test_the_login_is_made_anew_before_each_connect() -> None:
    made = 0

    async def make_login() -> Login:
        nonlocal made
        made += 1
        return Login("device", f"token {made}")

    async with strict_broker() as broker, publishing(broker, make_login=make_login) as publisher:
        first = await publisher.connected()
        broker.clients[0].writer.transport.abort()
        await eventually(lambda: first.lost is not None)
        await publisher.connected()
    assert [(each.username, each.password) for each in broker.attempts] == [("device", "token 1"), ("device", "token 2")]
    assert "token" not in repr(Login("device", "token"))


@pytest.mark.parametrize("kind", [Unauthorized, ValueError, Unavailable])
async def test_a_login_that_cannot_be_made_is_the_error_of_the_connect(kind: type[Exception]) -> None:
    async def make_login() -> Login:
        raise kind("the role is missing")

    async with strict_broker() as broker, publishing(broker, make_login=make_login) as publisher:
        with pytest.raises(Unavailable, match="the role is missing") as raised:
            await publisher.connected()
    assert isinstance(raised.value, Unauthorized) == (kind is not Unavailable)
    assert broker.attempts == []


async def test_a_connection_whose_login_ends_is_replaced_between_two_messages_and_nothing_is_sent_twice() -> None:
    """Messages in flight are answered, those not sent are untried, and a DISCONNECT ends the old connection."""
    lasts = [0.05, None]

    async def make_login() -> Login:
        return Login("device", "token", lasts=lasts.pop(0))

    async with strict_broker() as broker, publishing(broker, make_login=make_login, max_inflight=10) as publisher:
        broker.puback = later
        batch = [Publication("t", b"%d" % number, retain=False, properties=b"\x00") for number in range(200)]
        left = list(batch)
        writes = 0
        while left:
            link = await publisher.connected()
            results = await link.publish(left)
            assert set(results) <= {Answer(0), UNTRIED}
            left = [each for each, result in zip(left, results, strict=True) if result is UNTRIED]
            writes += 1
    assert writes == 2
    assert [each.payload for each in broker.published] == [each.payload for each in batch]
    assert [len(broker.attempts), len(broker.goodbyes)] == [2, 2]


async def test_writes_at_once_all_move_to_the_new_connection() -> None:
    lasts = [0.05, None]

    async def make_login() -> Login:
        return Login("device", "token", lasts=lasts.pop(0))

    async with strict_broker() as broker, publishing(broker, make_login=make_login, max_inflight=2) as publisher:
        broker.puback = later

        async def write(number: int) -> None:
            left = [Publication("t", b"%d-%d" % (number, each), retain=False, properties=b"\x00") for each in range(10)]
            while left:
                results = await (await publisher.connected()).publish(left)
                left = [each for each, result in zip(left, results, strict=True) if result is UNTRIED]

        await asyncio.gather(*(write(number) for number in range(4)))
    assert len(broker.attempts) == 2
    assert len({each.payload for each in broker.published}) == len(broker.published) == 40


async def test_the_last_will_is_part_of_the_connect() -> None:
    async with strict_broker() as broker, publishing(broker, will=LastWill(topic="a/b", payload="gone").as_will()) as publisher:
        await publisher.connected()
    assert broker.attempts[0].will == ("a/b", b"gone")


async def test_the_largest_packet_is_known_once_connected() -> None:
    async with strict_broker() as broker, publishing(broker) as publisher:
        assert publisher.largest_packet is None
        broker.connack_properties = b"\x27\x00\x00\x03\xe8"
        await publisher.connected()
        assert publisher.largest_packet == 1000


async def test_with_qos_2_an_unfinished_message_is_continued_in_the_session_that_the_broker_kept() -> None:
    async with strict_broker() as broker, publishing(broker, qos=2) as publisher:
        broker.puback = lambda client, _: client.writer.transport.abort()
        first = await publisher.connected()
        (lost,) = await first.publish([MESSAGE])
        assert isinstance(lost, Unavailable)

        broker.session_present = True
        broker.puback = StrictBroker().puback
        assert await (await publisher.connected()).publish([MESSAGE]) == [Answer(0)]
    assert [(each.identifier, each.again) for each in broker.published] == [(1, False), (1, True)]
    assert [each.clean for each in broker.attempts] == [True, False]


async def test_with_qos_2_a_session_of_another_run_is_forgotten_before_the_first_message_and_at_the_end() -> None:
    """A broker of 3.1.1 knows packet ids of the other run, and would swallow new messages that have them."""
    async with strict_broker() as broker:
        broker.session_present = True
        async with publishing(broker, "3.1.1", qos=2) as publisher:
            await publisher.connected()
    assert [each.clean for each in broker.attempts] == [False, True, False, True]


async def test_a_publisher_that_never_connected_closes_without_a_connection() -> None:
    async with strict_broker() as broker, publishing(broker):
        pass
    assert broker.attempts == []
