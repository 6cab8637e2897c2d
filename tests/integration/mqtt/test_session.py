"""Promises of the MQTT source about its session: subscriptions, retained messages, last will, status.

Covers: edgerouter.sources.mqtt.kept, edgerouter.sources.mqtt.options, edgerouter.sources.mqtt.session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from support.chaos import chaos
from support.mosquitto import Mosquitto
from support.mqtt_source import eventually, opened, publish
from support.rewriting import rewriting

both_protocols = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as started:
        yield started


@both_protocols
async def test_a_topic_removed_from_the_configuration_is_unsubscribed(broker: Mosquitto, tmp_path: Path, protocol: str) -> None:
    state = tmp_path / "state"
    async with opened(broker, "a", "b/#", state=state, protocol=protocol) as source:
        await source.connected()
    async with opened(broker, "b/#", "c", state=state, protocol=protocol) as source:
        await source.connected()
        await publish(broker, "a", b"gone")
        await publish(broker, "b/1", b"stays")
        await publish(broker, "c", b"new")
        assert [message.topic for message in await source.messages(2)] == ["b/1", "c"]
        await source.nothing_comes()


async def test_a_session_without_a_state_folder_works_too(broker: Mosquitto) -> None:
    async with opened(broker, "a") as source:
        await source.connected()
    await publish(broker, "a", b"kept by the broker")
    async with opened(broker, "a") as source:
        assert [message.payload for message in await source.messages(1)] == [b"kept by the broker"]


async def test_each_topic_may_have_its_own_quality_of_service(broker: Mosquitto) -> None:
    async with opened(broker, topics=["a", {"topic": "b", "qos": 0}]) as source:
        await source.connected()
        await publish(broker, "a", b"")
        await publish(broker, "b", b"")
        assert {(message.topic, message.qos) for message in await source.messages(2)} == {("a", 1), ("b", 0)}


@both_protocols
async def test_a_group_shares_the_messages(broker: Mosquitto, protocol: str) -> None:
    async with (
        opened(broker, "t/#", share="workers", name="one", protocol=protocol) as one,
        opened(broker, "t/#", share="workers", name="two", protocol=protocol) as two,
    ):
        await one.connected()
        await two.connected()
        await publish(broker, "t/1", *(b"%d" % number for number in range(10)))
        first = await one.messages(5)
        second = await two.messages(5)
        await one.nothing_comes(0.1)
        await two.nothing_comes(0.1)
    assert {message.payload for message in [*first, *second]} == {b"%d" % number for number in range(10)}


@both_protocols
@pytest.mark.parametrize("qos", [0, 1])
async def test_retained_messages_are_kept_with_their_flag(broker: Mosquitto, protocol: str, qos: int) -> None:
    await publish(broker, "t", b"state", qos=qos, retain=True)
    async with opened(broker, protocol=protocol) as source:
        (message,) = await source.messages(1)
        await publish(broker, "t", b"live", qos=qos, retain=True)
        (live,) = await source.messages(1)
    assert (message.payload, message.retained) == (b"state", True)
    assert (live.payload, live.retained) == (b"live", False)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_what_is_published_as_retained_meanwhile_can_keep_its_mark(broker: Mosquitto, qos: int) -> None:
    await publish(broker, "t", b"state", qos=qos, retain=True)
    async with opened(broker, retained="as_published", qos=2) as source:
        found = await source.messages(1)
        await publish(broker, "t", b"live", qos=qos, retain=True)
        found += await source.messages(1)
        await publish(broker, "t", b"plain", qos=qos)
        found += await source.messages(1)
        await publish(broker, "t", b"", qos=qos, retain=True)
        found += await source.messages(1)
    assert [(message.payload, message.retained) for message in found] == [
        (b"state", True),
        (b"live", True),
        (b"plain", False),
        (b"", True),
    ]


@both_protocols
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_retained_messages_can_be_dropped(broker: Mosquitto, protocol: str, qos: int) -> None:
    await publish(broker, "t", b"state", qos=qos, retain=True)
    async with opened(broker, protocol=protocol, retained="drop", qos=2) as source:
        await source.connected()
        await publish(broker, "t", b"live", qos=qos, retain=True)
        (live,) = await source.messages(1)
        await source.nothing_comes(0.1)
        assert live.payload == b"live"
        await eventually(lambda: source.source.in_flight.unacknowledged == 0)


@both_protocols
async def test_with_once_a_replay_of_what_is_stored_is_not_stored_again(broker: Mosquitto, tmp_path: Path, protocol: str) -> None:
    options: dict[str, Any] = {"state": tmp_path / "state", "protocol": protocol, "retained": "once", "clean_session": True}
    await publish(broker, "seen", b"1", retain=True)
    await publish(broker, "changed", b"1", retain=True)
    async with opened(broker, **options) as source:
        assert {message.topic for message in await source.messages(2)} == {"seen", "changed"}
        await publish(broker, "live", b"1", retain=True)
        await source.messages(1)
    await publish(broker, "changed", b"2", retain=True)
    async with opened(broker, **options) as source:
        (message,) = await source.messages(1)
        await source.nothing_comes()
        assert (message.topic, message.payload) == ("changed", b"2")
        # published again with the same content during the subscription, it is a message like any other
        await publish(broker, "changed", b"2", retain=True)
        await source.messages(1)


async def test_a_reconnect_with_mqtt_5_replays_no_retained_messages(broker: Mosquitto) -> None:
    await publish(broker, "t", b"state", retain=True)
    async with chaos(broker.port) as proxy, opened(f"mqtt://127.0.0.1:{proxy.port}") as source:
        await source.messages(1)
        await eventually(lambda: "Received PUBACK from edgerouter" in broker.log)
        proxy.cut()
        await source.disconnected()
        await source.connected()
        await source.nothing_comes()


async def test_the_status_topic_says_online_and_offline(broker: Mosquitto) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.port) as watcher, chaos(broker.port) as proxy:
        await watcher.subscribe("status", qos=1)
        messages = aiter(watcher.messages)

        async def status() -> object:
            return (await asyncio.wait_for(anext(messages), 10)).payload

        async with opened(f"mqtt://127.0.0.1:{proxy.port}", "t", status_topic="status") as source:
            assert await status() == b"online"
            proxy.cut()
            assert await status() == b"offline"
            assert await status() == b"online"
            await source.connected()
        assert await status() == b"offline"
    async with aiomqtt.Client("127.0.0.1", broker.port) as late:
        await late.subscribe("status")
        message = await asyncio.wait_for(anext(aiter(late.messages)), 10)
        assert (message.payload, message.retain) == (b"offline", True)


async def test_the_last_will_is_published_when_the_connection_is_lost_and_not_when_it_is_closed(broker: Mosquitto) -> None:
    will = {"topic": "will", "payload": "gone", "qos": 1}
    async with aiomqtt.Client("127.0.0.1", broker.port) as watcher, chaos(broker.port) as proxy:
        await watcher.subscribe("will", qos=1)
        async with opened(broker, "t", last_will=will) as source:
            await source.connected()
        async with opened(f"mqtt://127.0.0.1:{proxy.port}", "t", last_will=will) as source:
            await source.connected()
            proxy.cut()
            message = await asyncio.wait_for(anext(aiter(watcher.messages)), 10)
            assert message.payload == b"gone"
        assert len(watcher.messages) == 0


@both_protocols
async def test_a_refused_subscription_is_reported_and_tried_again(broker: Mosquitto, protocol: str) -> None:
    failure = b"\x87" if protocol == "5" else b"\x80"
    async with rewriting(broker.port) as proxy:
        # replace the broker's consent by a refusal, as a broker with access control sends it
        proxy.from_server = lambda data: data[:-1] + failure if data[0] == 0x90 else data
        async with opened(f"mqtt://127.0.0.1:{proxy.port}", "open/#", "secret/#", protocol=protocol) as source:
            reason = await source.disconnected()
            assert "refuses the subscription 'secret/#'" in reason
            assert "open" not in reason
            await publish(broker, "open/1", b"x")
            assert [message.topic for message in await source.messages(1)] == ["open/1"]
            proxy.from_server = lambda data: data
            await source.connected()
