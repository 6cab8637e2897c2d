"""Promises of the MQTT source about its connection, tested with a real mosquitto.

Covers: edgerouter.mqtt.diagnosis.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from support.chaos import chaos
from support.mosquitto import Mosquitto, free_port
from support.mqtt_source import eventually, opened, publish
from support.rewriting import rewriting


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_restarted_broker_is_found_again_with_the_session_and_nothing_lost(broker: Mosquitto, protocol: str) -> None:
    async with opened(broker, protocol=protocol) as source:
        await source.connected()
        for round_number in range(3):
            # messages that the broker queued and saved before it stopped are part of the session
            await publish(broker, "t", *(b"%d-%d" % (round_number, number) for number in range(20)))
            broker.stop()
            assert await source.disconnected()
            broker.start()
            await source.connected()
            await publish(broker, "t", b"%d-20" % round_number)
            seen: set[bytes] = set()
            while len(seen) < 21:
                seen.update(message.payload for message in await source.messages(1))
            assert seen == {b"%d-%d" % (round_number, number) for number in range(21)}
            await source.nothing_comes(0.05)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [1, 2])
async def test_a_link_that_breaks_again_and_again_under_load_loses_nothing(broker: Mosquitto, protocol: str, qos: int) -> None:
    payloads = [b"%d" % number for number in range(1500)]
    seen: set[bytes] = set()
    async with chaos(broker.port) as proxy:
        options: dict[str, Any] = {"protocol": protocol, "qos": 2, "reconnect": {"first_delay": 0.001, "max_delay": 0.01}}
        async with opened(f"mqtt://127.0.0.1:{proxy.port}", **options) as source:
            await source.connected()
            publishing = asyncio.create_task(publish(broker, "t", *payloads, qos=qos))
            while len(seen) < len(payloads):
                delivery = await source.delivery()
                seen.update(message.payload for message in delivery.messages)
                # acknowledge as a spool does: a little later, in order
                asyncio.get_running_loop().call_later(0.005, delivery.acknowledge)
                if len(seen) > 100 * proxy.connections:
                    proxy.cut()
            await publishing
            assert proxy.connections > 5
    assert seen == set(payloads)


async def test_it_starts_with_the_broker_down_and_begins_as_soon_as_it_answers(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker")
    async with opened(broker) as source:
        assert "refused" in (await source.disconnected()).lower()
        await eventually(lambda: len(source.told) >= 3)
        with broker:
            await source.connected()
            await publish(broker, "t", b"x")
            assert [message.payload for message in await source.messages(1)] == [b"x"]


async def test_a_name_that_does_not_resolve_is_tried_for_ever() -> None:
    async with opened("mqtt://no-such-broker.invalid") as source:
        assert await source.disconnected()
        await eventually(lambda: len(source.told) >= 3)


async def test_leaving_while_the_broker_does_not_answer_does_not_hang(broker: Mosquitto) -> None:
    async with chaos(broker.port) as proxy:
        proxy.black_hole()
        began = time.monotonic()
        async with opened(f"mqtt://127.0.0.1:{proxy.port}", connect_timeout=1):
            await eventually(lambda: proxy.connections == 1)
        assert time.monotonic() - began < 5


@pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
def test_a_reset_behind_data_that_was_not_read_yet_is_noticed_at_once() -> None:
    """Under uvloop the reader is called once and watching stops, so the reset would go unnoticed."""
    import uvloop

    publishes = b"\x30\x06\x00\x01t\x00xy" * 40_000  # more than one read returns
    served = 0

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await reader.read(1000)
        writer.write(b"\x20\x03\x00\x00\x00")
        await reader.read(1000)
        writer.write(b"\x90\x04\x00\x01\x00\x01")
        writer.write(publishes)
        await writer.drain()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        served += 1
        writer.transport.abort()

    async def walk() -> None:
        server = await asyncio.start_server(reset, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        async with server, opened(f"mqtt://127.0.0.1:{port}", protocol="5", keepalive=600):
            await eventually(lambda: served >= 3)

    uvloop.run(walk())


async def test_a_half_open_connection_is_noticed_and_replaced(broker: Mosquitto) -> None:
    async with chaos(broker.port) as proxy, opened(f"mqtt://127.0.0.1:{proxy.port}", keepalive=1, connect_timeout=1) as source:
        await source.connected()
        proxy.black_hole()
        assert await source.disconnected()
        await publish(broker, "t", b"meanwhile")
        proxy.heal()
        await source.connected()
        assert [message.payload for message in await source.messages(1)] == [b"meanwhile"]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_the_connection_stays_up_while_no_message_is_requested(broker: Mosquitto, protocol: str) -> None:
    async with opened(broker, protocol=protocol, keepalive=1, max_unacknowledged=15) as source:
        await source.connected()
        await publish(broker, "t", *(b"%d" % number for number in range(500)))
        await eventually(lambda: source.source.in_flight.unacknowledged >= 15)
        pings = broker.log.count("Received PINGREQ from edgerouter")
        await eventually(lambda: broker.log.count("Received PINGREQ from edgerouter") >= pings + 4)
        assert [connected for connected, _ in source.told] == [True]
        assert source.source.in_flight.unacknowledged <= 30
        seen: set[bytes] = set()
        while len(seen) < 500:
            seen.update(message.payload for message in await source.messages(1))
        assert seen == {b"%d" % number for number in range(500)}


async def test_an_unread_flood_neither_ends_the_connection_nor_fills_the_memory(broker: Mosquitto) -> None:
    async with opened(broker, keepalive=1, max_unacknowledged=10, max_pending_bytes=100_000) as source:
        await source.connected()
        await publish(broker, "t", *([b"x"] * 20))
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                for _ in range(100):
                    await client.publish("flood", bytes(1000), qos=0)
                await asyncio.sleep(0.01)
        assert [connected for connected, _ in source.told] == [True]
        assert source.source.in_flight.current.qos0_bytes <= 100_000
        messages = await source.messages(20)
        while sum(message.topic == "t" for message in messages) < 20:
            messages += await source.messages(1)


async def test_a_session_that_was_taken_over_is_not_fought_for(broker: Mosquitto) -> None:
    async with rewriting(broker.port) as proxy:
        reconnect = {"first_delay": 0.01, "max_delay": 2}
        async with opened(f"mqtt://127.0.0.1:{proxy.port}", client_id="shared", reconnect=reconnect) as source:
            await source.connected()
            # mosquitto 2.0.11 only closes the connection; others send the reason (MQTT 5.0, reason code 142)
            proxy.say(b"\xe0\x01\x8e")
            began = time.monotonic()
            assert "another client uses the client id 'shared'" in await source.disconnected()
            await source.connected()
            assert time.monotonic() - began > 0.9


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_two_clients_that_take_over_each_other_are_distinguished_from_a_bad_network(broker: Mosquitto, protocol: str) -> None:
    options: dict[str, Any] = {"protocol": protocol, "client_id": "shared", "reconnect": {"first_delay": 0.05, "max_delay": 0.5}}
    async with opened(broker, **options) as one, opened(broker, **options) as two:
        await eventually(lambda: any("'shared'" in reason for _, reason in [*one.told, *two.told]))


async def test_a_broker_that_is_restarted_again_and_again_is_found_quickly_each_time(broker: Mosquitto) -> None:
    """The back-off restarts whenever the broker has returned, however soon it stopped again."""
    async with chaos(broker.port) as proxy:
        reconnect = {"first_delay": 0.05, "max_delay": 60}
        async with opened(f"mqtt://127.0.0.1:{proxy.port}", reconnect=reconnect) as source:
            for _ in range(10):
                await source.connected()
                lost_and_tried_in_vain = len(source.told) + 2
                proxy.refuse()
                await eventually(lambda told=lost_and_tried_in_vain: len(source.told) >= told)  # type: ignore[misc]
                proxy.heal()


async def test_a_server_that_is_not_a_broker_is_reported_as_such() -> None:
    async def web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(web_server, "127.0.0.1", 0)
    async with server, opened(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}") as source:
        assert "instead of answering" in await source.disconnected()


async def test_nothing_is_left_behind_when_it_closes(broker: Mosquitto) -> None:
    async with opened(broker) as source:
        await source.connected()
    await eventually(lambda: len(asyncio.all_tasks()) == 1)
    await eventually(lambda: "Client edgerouter-0123456789ab-local disconnected." in broker.log)


async def test_a_closed_port_is_named_in_the_reason() -> None:
    async with opened(f"mqtt://127.0.0.1:{free_port()}") as source:
        assert "refused" in (await source.disconnected()).lower()
