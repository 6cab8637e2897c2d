"""A hostile message costs the MQTT source bounded memory and never blocks the event loop."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.mosquitto import Mosquitto
from support.mqtt_packets import publish
from support.mqtt_source import eventually, opened
from support.mqtt_source import publish as publish_to
from support.strict_broker import Client, StrictBroker, strict_broker

MIB = 1024**2
TESTS = Path(__file__).parents[2]
NO_PAUSE = 0.25
"""Longest time in seconds for which one step may occupy the event loop's thread."""


async def source_process(config: dict[str, Any]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.source_process", json.dumps(config)), stdout=asyncio.subprocess.PIPE, cwd=TESTS
    )


async def measured(broker: StrictBroker, attack: Any, **config: Any) -> dict[str, Any]:
    """Send an attack to a source, then a message to the topic `end`; return the cost."""
    process = await source_process({"url": broker.url, "topics": ["#"], **config})
    try:
        client = await broker.client()
        await eventually(lambda: bool(broker.subscribed), 30)
        five = client.connect.version == 5
        async with asyncio.timeout(50):
            await attack(client)
            client.send(publish("end", b"", 1, 9999, properties=b"" if five else None))
            assert process.stdout is not None
            found: dict[str, Any] = json.loads((await process.stdout.read()).splitlines()[-1])
        return found
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [1, 2])
async def test_a_message_of_80_mb_is_discarded_while_it_streams_by_and_acknowledged(protocol: str, qos: int) -> None:
    async with strict_broker() as broker:

        async def attack(client: Client) -> None:
            properties = b"" if protocol == "5" else None
            data = publish("big", bytes(80 * MIB), qos, 77, properties=properties)
            for at in range(0, len(data), MIB):
                client.send(data[at : at + MIB])
                await client.writer.drain()
            await eventually(lambda: any(identifier == 77 for _, identifier in client.answers), 30)
            await client.settled()

        found = await measured(broker, attack, protocol=protocol, max_message_bytes="8MiB")
        answers = broker.clients[0].answers
        assert [kind for kind, identifier in answers if identifier == 77] == ([0x40] if qos == 1 else [0x50, 0x70])
    assert found["seen"] == [["end", 0]]
    assert found["dropped"] == {"too_large": 1}
    assert found["grown"] < 30 * MIB
    assert found["longest_pause"] < NO_PAUSE
    assert not broker.faults


async def test_a_broker_of_version_5_learns_the_largest_packet() -> None:
    async with strict_broker() as broker, opened(broker.url, max_message_bytes=12345) as source:
        await source.connected()
        assert b"\x27" + (12345).to_bytes(4) in broker.attempts[0].properties


async def test_mosquitto_with_3_1_1_goes_on_behind_a_message_that_is_too_large(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        async with opened(broker, protocol="3.1.1", max_message_bytes=10_000) as source:
            await source.connected()
            await publish_to(broker, "t", b"1", bytes(1_000_000), b"2")
            assert [message.payload for message in await source.messages(2)] == [b"1", b"2"]
        async with opened(broker, protocol="3.1.1", max_message_bytes=10_000) as source:
            await source.connected()
            await source.nothing_comes(0.1)


async def test_a_million_user_properties_neither_freeze_the_loop_nor_fill_the_memory() -> None:
    async with strict_broker() as broker:

        async def attack(client: Client) -> None:
            pairs = b"\x26\x00\x01n\x00\x02vv" * 1_000_000
            client.send(publish("pairs", b"payload", 1, 77, properties=pairs))
            await client.writer.drain()

        found = await measured(broker, attack)
    assert ["pairs", 7] in found["seen"]
    assert found["grown"] < 60 * MIB
    assert found["longest_pause"] < NO_PAUSE


async def test_many_messages_with_many_properties_stay_within_the_bound_of_unacknowledged_bytes() -> None:
    async with strict_broker() as broker:

        async def attack(client: Client) -> None:
            pairs = b"\x26\x00\x01n\x00\x02vv" * 900
            data = b"".join(publish("pairs", b"", 1, number, properties=pairs) for number in range(1, 2000))
            client.send(data)
            await client.writer.drain()

        found = await measured(broker, attack)
    assert found["grown"] < 100 * MIB
    assert found["longest_pause"] < NO_PAUSE


async def test_thirty_thousand_topics_of_60_kb_do_not_fill_the_memory() -> None:
    async with strict_broker() as broker:

        async def attack(client: Client) -> None:
            for number in range(5_000):
                client.send(publish(f"{number}/" + "x" * 60_000, b"", 0, properties=b""))
                await client.writer.drain()

        found = await measured(broker, attack, retained="once")
    assert found["grown"] < 100 * MIB
    assert found["longest_pause"] < NO_PAUSE
