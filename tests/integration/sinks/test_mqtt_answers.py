"""The MQTT sink and every answer that a broker may give, tested with a strict broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from edgerouter import Message, Rejected, SinkContext, Throttled, Unauthorized, Unavailable
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.sink import MqttSink
from edgerouter.testing import make_message, make_messages
from support.chaos import chaos
from support.mosquitto import Mosquitto
from support.strict_broker import Client, Published, acknowledge, strict_broker

CONTEXT = SinkContext("out", "edge-1", "5p00l")


@asynccontextmanager
async def opened(url: str, **config: Any) -> AsyncIterator[MqttSink]:
    async with MqttSink.open(MqttSinkConfig.model_validate({"url": url, **config}), CONTEXT) as sink:
        yield sink


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (0x01, None, ""),
        (0x10, None, ""),
        (0x7F, None, ""),
        (0x80, Unavailable, "Unspecified error"),
        (0x83, Unavailable, "Implementation specific error"),
        (0x87, Unauthorized, "Not authorized"),
        (0x90, Rejected, "Topic Name invalid"),
        (0x91, Unavailable, "Packet Identifier in use"),
        (0x97, Throttled, "Quota exceeded"),
        (0x99, Rejected, "Payload format invalid"),
        (0xFE, Unavailable, "0xFE, which MQTT does not define"),
    ],
)
async def test_each_answer_to_a_publish_is_understood_and_the_connection_stays(
    qos: int, code: int, kind: type[Exception] | None, said: str
) -> None:
    async with strict_broker() as broker:
        broker.puback = lambda client, published: acknowledge(client, published, code)
        async with opened(broker.url, qos=qos) as sink:
            for sequence in (1, 2):
                failures = (await sink.write([make_message(sequence=sequence)])).failed
                assert [type(failure.error) for failure in failures] == ([] if kind is None else [kind])
                assert all(said in str(failure.error) for failure in failures)
        assert len(broker.clients) == 1
        assert not broker.faults


async def test_an_answer_with_a_reason_string_and_properties_is_read() -> None:
    def with_properties(_: Client, published: Published) -> bytes:
        properties = b"\x1f\x00\x03why\x26\x00\x01a\x00\x01b"
        return (
            b"\x40"
            + bytes([4 + len(properties)])
            + published.identifier.to_bytes(2)
            + b"\x00"
            + bytes([len(properties)])
            + properties
        )

    async with strict_broker() as broker:
        broker.puback = with_properties
        async with opened(broker.url) as sink:
            assert not (await sink.write(make_messages([b"1", b"2"]))).failed


async def test_answers_that_nothing_asked_for_change_nothing() -> None:
    async with strict_broker() as broker, opened(broker.url) as sink:
        client = await broker.client()
        client.send(b"\x40\x02\x00\x09\x50\x02\x00\x0a\x70\x02\x00\x0b" + b"\x30\x05\x00\x01t\x00x")
        assert not (await sink.write(make_messages([b"1", b"2"]))).failed
        assert (0x60, 10) in client.answers


async def test_a_flood_that_nothing_asked_for_does_not_fill_the_memory() -> None:
    async with strict_broker() as broker, opened(broker.url) as sink:
        client = await broker.client()
        client.send(b"\x30\x80\x80\x80\x05")
        for _ in range(10):
            client.send(bytes(1024**2))
            await client.writer.drain()
        assert not (await asyncio.wait_for(sink.write([make_message()]), 20)).failed


async def test_the_window_that_the_broker_asks_for_is_kept() -> None:
    most = 0
    open_ids: set[int] = set()

    async with strict_broker() as broker:
        broker.connack_properties = b"\x21\x00\x03"

        def later(client: Client, published: Published) -> bytes:
            nonlocal most
            open_ids.add(published.identifier)
            most = max(most, len(open_ids))

            def answer() -> None:
                open_ids.discard(published.identifier)
                client.send(acknowledge(client, published))

            asyncio.get_running_loop().call_later(0.001, answer)
            return b""

        broker.puback = later
        async with opened(broker.url) as sink:
            assert not (await sink.write(make_messages([b"x"] * 50))).failed
    assert most == 3


async def test_qos_2_is_continued_where_a_lost_connection_cut_it() -> None:
    """The message is neither published again once the broker has it, nor sent with another packet id while that is open."""
    async with strict_broker() as broker:
        broker.session_present = True
        cut = True

        def pubcomp(client: Client, identifier: int) -> bytes | None:
            if cut:
                client.writer.transport.abort()
                return None
            return b"\x70\x02" + identifier.to_bytes(2)

        def pubrec(client: Client, published: Published) -> bytes | None:
            return acknowledge(client, published) if published.payload == b"received" or not cut else None

        broker.puback, broker.pubcomp = pubrec, pubcomp
        batch = make_messages([b"lost", b"received"])
        async with opened(broker.url, qos=2) as sink:
            failures = (await sink.write(batch)).failed
            assert [type(failure.error) for failure in failures] == [Unavailable] * 2
            cut = False
            assert not (await sink.write(batch)).failed
            assert not (await sink.write(make_messages([b"next"]))).failed
        assert [(each.payload, each.again) for each in broker.published] == [
            (b"lost", False), (b"received", False), (b"lost", True), (b"next", False),
        ]  # fmt: skip
        assert broker.published[0].identifier == broker.published[2].identifier
        assert [client.connect.clean for client in broker.clients] == [True, False]


async def test_qos_2_begins_anew_when_the_broker_has_forgotten_the_session() -> None:
    async with strict_broker() as broker:
        broker.pubcomp = lambda client, _: client.writer.transport.abort()
        async with opened(broker.url, qos=2) as sink:
            assert len((await sink.write([make_message()])).failed) == 1
            broker.pubcomp = lambda _, identifier: b"\x70\x02" + identifier.to_bytes(2)
            assert not (await sink.write([make_message()])).failed
        assert [each.again for each in broker.published] == [False, False]


async def test_with_3_1_1_a_session_of_another_run_is_forgotten_before_the_first_message() -> None:
    """The broker has not released the old session's packet ids, so new messages with these ids would be discarded."""
    async with strict_broker() as broker:
        broker.session_present = True
        async with opened(broker.url, qos=2, protocol="3.1.1", client_id="fixed") as sink:
            assert not (await sink.write([make_message()])).failed
        assert [each.clean for each in broker.attempts] == [False, True, False, True]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_qos_2_delivers_each_message_once_over_a_link_that_breaks_again_and_again(tmp_path: Path, protocol: str) -> None:
    with Mosquitto(tmp_path / "broker", ["max_queued_messages 0"]) as broker:
        async with (
            aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as consumer,
            chaos(broker.port) as proxy,
            opened(f"mqtt://127.0.0.1:{proxy.port}", qos=2, protocol=protocol, topic="plant") as sink,
        ):
            await consumer.subscribe("plant", qos=2)
            batch = make_messages([b"%d" % number for number in range(1500)])
            left: list[Message] = list(batch)

            async def cut_now_and_then() -> None:
                for _ in range(15):
                    await asyncio.sleep(0.02)
                    proxy.cut()

            cutting = asyncio.create_task(cut_now_and_then())
            async with asyncio.timeout(60):
                while left:
                    with suppress(Unavailable):
                        failures = (await sink.write(left)).failed
                        left = [left[failure.index] for failure in failures]
                await cutting
            assert proxy.connections > 2
            async with aiomqtt.Client("127.0.0.1", broker.port) as marker:
                # of QoS 2 too: one of QoS 1 is handed over at once, before the handshakes of those that came earlier
                await marker.publish("plant", b"end", qos=2)
            seen: Counter[bytes] = Counter()
            async with asyncio.timeout(20):
                async for message in consumer.messages:
                    if message.payload == b"end":
                        break
                    seen[bytes(message.payload)] += 1
            assert seen == {message.payload: 1 for message in batch}


async def test_a_sink_with_qos_2_leaves_no_session_at_the_broker() -> None:
    async with strict_broker() as broker:
        async with opened(broker.url, qos=2) as sink:
            await sink.write([make_message()])
        assert broker.goodbyes == [b"\x00\x05\x11\x00\x00\x00\x00"]
