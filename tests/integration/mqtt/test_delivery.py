"""Promises of the MQTT source about messages, tested with a real mosquitto.

Covers: edgerouter.mqtt.calls, edgerouter.mqtt.connection, edgerouter.mqtt.reading, edgerouter.sources.mqtt.connection,
edgerouter.sources.mqtt.inflow, edgerouter.sources.mqtt.source.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from edgerouter import Properties
from support.chaos import chaos
from support.mosquitto import Mosquitto
from support.mqtt_source import eventually, opened, publish
from support.rewriting import rewriting

both_protocols = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


@both_protocols
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_every_message_comes_once_and_in_order(broker: Mosquitto, protocol: str, qos: int) -> None:
    payloads = [b"%d" % number for number in range(300)]
    async with opened(broker, "a/#", protocol=protocol, qos=2) as source:
        await source.connected()
        await publish(broker, "a/b", *payloads, qos=qos)
        messages = await source.messages(300)
        await source.nothing_comes()
    assert [message.payload for message in messages] == payloads
    assert {(message.topic, message.qos, message.retained, message.properties) for message in messages} == {
        ("a/b", qos, False, None)
    }
    assert all(message.received_at > 1_700_000_000_000_000_000 for message in messages)


@pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
def test_it_works_on_uvloop_too(broker: Mosquitto) -> None:
    import uvloop

    async def walk() -> list[bytes]:
        async with chaos(broker.port) as proxy, opened(f"mqtt://127.0.0.1:{proxy.port}") as source:
            await source.connected()
            await publish(broker, "t", b"1", b"2")
            messages = await source.messages(2)
            proxy.refuse()
            await source.disconnected()
            await publish(broker, "t", b"3")
            proxy.heal()
            while messages[-1].payload != b"3":
                messages += await source.messages(1)
            return [message.payload for message in messages]

    assert set(uvloop.run(walk())) == {b"1", b"2", b"3"}


async def test_the_properties_of_mqtt_5_travel_with_the_message(broker: Mosquitto) -> None:
    properties = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("unit", "°C"), ("unit", "K")]
    properties.ContentType = "application/json"
    properties.ResponseTopic = "answers"
    properties.CorrelationData = b"\x00\xff"
    properties.MessageExpiryInterval = 3600
    properties.PayloadFormatIndicator = 1
    async with opened(broker) as source, aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await source.connected()
        await client.publish("t", "x", qos=1, properties=properties)
        (message,) = await source.messages(1)
    assert message.properties == Properties(
        user=(("unit", "°C"), ("unit", "K")),
        content_type="application/json",
        response_topic="answers",
        correlation_data=b"\x00\xff",
        expiry=3600,
        payload_is_text=True,
    )


async def test_a_payload_of_many_megabytes_and_an_empty_one_come_unchanged(broker: Mosquitto) -> None:
    large = bytes(range(256)) * 40_000
    async with opened(broker) as source:
        await source.connected()
        await publish(broker, "large", large, b"", large)
        messages = await source.messages(3)
    assert [message.payload for message in messages] == [large, b"", large]


@both_protocols
async def test_the_bound_of_unacknowledged_messages_holds_against_a_broker_that_sends_too_much(
    tmp_path: Path, protocol: str
) -> None:
    settings = ["max_queued_messages 100000", "max_inflight_messages 0"] if protocol == "3.1.1" else ["max_queued_messages 100000"]
    with Mosquitto(tmp_path / "broker", settings) as broker:
        async with opened(broker, protocol=protocol, max_unacknowledged=50, receive_maximum=65_535) as source:
            await source.connected()
            await publish(broker, "t", *(b"%d" % number for number in range(1000)), qos=1)
            payloads: list[bytes] = []
            while len(payloads) < 1000:
                delivery = await source.delivery()
                assert source.source.in_flight.unacknowledged <= 50
                payloads += [message.payload for message in delivery.messages]
                delivery.acknowledge()
            await source.nothing_comes()
    assert payloads == [b"%d" % number for number in range(1000)]


async def test_bytes_are_bounded_as_messages_are(broker: Mosquitto) -> None:
    async with opened(broker, max_unacknowledged_bytes=100_000) as source:
        await source.connected()
        await publish(broker, "t", *([bytes(20_000)] * 100))
        count = 0
        while count < 100:
            delivery = await source.delivery()
            assert sum(len(message.payload) for message in delivery.messages) <= 120_000
            count += len(delivery.messages)
            delivery.acknowledge()


async def test_qos_0_beyond_the_bound_is_dropped_and_counted_by_topic(broker: Mosquitto) -> None:
    async with opened(broker, max_pending_bytes=50_000) as source:
        await source.connected()
        await publish(broker, "flood", *([bytes(1000)] * 200), qos=0)
        await publish(broker, "kept", b"x", qos=1)
        messages = await source.messages(1)
        while messages[-1].topic != "kept":
            messages += await source.messages(1)
        await eventually(lambda: source.dropped["flood"] > 0)
        kept = sum(message.topic == "flood" for message in messages)
        await eventually(lambda: source.dropped["flood"] + kept == 200)
        assert 0 < kept < 200


@both_protocols
async def test_the_router_is_asked_to_flush_now_when_the_broker_waits_for_acknowledgements(
    broker: Mosquitto, protocol: str
) -> None:
    async with opened(broker, protocol=protocol, receive_maximum=20) as source:
        await source.connected()
        await publish(broker, "t", *([b"x"] * 19))
        await eventually(lambda: source.source.in_flight.unacknowledged == 19)
        assert not source.hurried
        await publish(broker, "t", b"x")
        await eventually(lambda: bool(source.hurried))
        await source.messages(20)


async def test_after_stop_what_came_in_is_yielded_and_the_broker_keeps_the_rest(broker: Mosquitto) -> None:
    async with opened(broker) as source:
        await source.connected()
        await publish(broker, "t", b"in time")
        await eventually(lambda: source.source.in_flight.unacknowledged == 1)
        source.source.stop()
        await publish(broker, "t", b"too late")
        (delivery,) = [each async for each in source.source.deliveries()]
        assert [message.payload for message in delivery.messages] == [b"in time"]
        delivery.acknowledge()
    async with opened(broker) as source:
        assert [message.payload for message in await source.messages(1)] == [b"too late"]


@pytest.mark.parametrize(("answer", "versions_tried"), [(b"\x20\x02\x00\x01", [5, 4]), (b"", [5, 5, 4])])
async def test_a_broker_of_the_older_version_is_served_with_it(broker: Mosquitto, answer: bytes, versions_tried: list[int]) -> None:
    """Some brokers refuse MQTT 5 with a reason, others close the connection."""
    versions: list[int] = []

    def refuse_version_5(connect: bytes) -> bytes | None:
        versions.append(connect[connect.index(b"MQTT") + 4])
        return answer if versions[-1] == 5 else None

    async with rewriting(broker.port) as proxy:
        proxy.answer = refuse_version_5
        async with opened(f"mqtt://127.0.0.1:{proxy.port}") as source:
            await source.connected()
            await publish(broker, "t", b"x")
            assert [message.payload for message in await source.messages(1)] == [b"x"]
    assert versions == versions_tried
