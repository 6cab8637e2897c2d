"""The load generator that other tests rely on reports correctly."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import aiomqtt
import pytest

from support.load import Plan, load, topics
from support.mosquitto import Mosquitto

ROOMY = ("max_queued_messages 0", "max_inflight_messages 65535")


async def receive(client: aiomqtt.Client, count: int) -> Counter[str]:
    """Count messages by topic and number in the payload, up to `count`."""
    received: Counter[str] = Counter()
    async with asyncio.timeout(30):
        async for message in client.messages:
            number = bytes(message.payload).partition(b'"n":')[2].partition(b",")[0].strip().decode()
            received[f"{message.topic} {number}"] += 1
            if received.total() == count:
                return received
    return received


async def test_every_number_that_is_reported_was_published_once_and_in_full(tmp_path: Path) -> None:
    """Covers both qualities of service."""
    for qos in (0, 1):
        with Mosquitto(tmp_path / str(qos), ROOMY) as broker:
            async with aiomqtt.Client("127.0.0.1", broker.port) as client:
                await client.subscribe("sensors/#", qos=qos)
                async with load(Plan(broker.port, topics=topics(7), messages=2000, qos=qos)) as publishing:
                    received = await receive(client, 2000)
                    report = await publishing.finish()
        expected = {f"{topic} {number}" for topic, numbers in report.sent_numbers().items() for number in numbers}
        assert received == Counter(expected)
        assert report.acknowledged == (2000 if qos else 0)


@pytest.mark.parametrize("size", [10, 777, 1 << 20])
async def test_payloads_have_the_size_and_the_characters_that_were_asked_for(size: int, tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.subscribe("sensors/#")
            async with load(Plan(broker.port, messages=5, payload_bytes=size, characters="y")), asyncio.timeout(30):
                payload = bytes((await anext(aiter(client.messages))).payload)
    assert len(payload) == size
    assert payload.count(b"y") in {size, size - 47}


async def test_a_plan_may_have_very_many_topics(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        async with load(Plan(broker.port, topics=topics(100_000), messages=100)) as publishing:
            report = await publishing.finish()
    assert report.acknowledged == 100


async def test_what_was_in_flight_when_the_broker_died_is_not_reported_as_acknowledged(tmp_path: Path) -> None:
    """Publishing continues after the broker has returned."""
    with Mosquitto(tmp_path, ROOMY) as broker:
        async with load(Plan(broker.port, window=100)) as publishing:
            await publishing.at_least(1000)
            broker.kill()
            broker.start()
            await publishing.at_least(publishing.acknowledged + 1000)
            report = await publishing.stop()
    unknown = sum(last - first + 1 for first, last in report.unknown_ranges)
    assert report.connections == 2
    assert unknown <= 100
    assert report.acknowledged + unknown == report.sent
    assert sum(map(len, report.acknowledged_numbers().values())) == report.acknowledged


async def test_a_plan_with_a_rate_keeps_to_it(tmp_path: Path) -> None:
    """It never sends more than the rate allows; a busy machine may send less."""
    with Mosquitto(tmp_path) as broker:
        async with load(Plan(broker.port, messages=200, rate=400)) as publishing:
            report = await publishing.finish()
    assert report.sent == report.acknowledged == 200
    assert report.rate <= 400
