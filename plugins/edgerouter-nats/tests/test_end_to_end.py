"""Router processes move messages from a broker through a stream into a file while each part is killed: nothing is lost or doubled.

Covers: edgerouter_nats.jetstream.receiving, edgerouter_nats.jetstream.kept, edgerouter_nats.jetstream.publishing.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from support.by_topic import Payloads, numbered, publish_all
from support.mosquitto import Mosquitto
from support.nats.cluster import NatsCluster, NatsServer
from support.receiving import written
from support.router import RouterProcess, router

TOPICS = 20
MESSAGES = int(os.environ.get("NATS_MESSAGES", "2000"))
"""More of them for a longer run."""
RETRY = {"first_delay": "20ms", "max_delay": "500ms"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    settings = ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")
    with Mosquitto(tmp_path / "broker", settings) as broker:
        yield broker


def box(broker: Mosquitto, servers: list[str]) -> dict[str, Any]:
    """Configuration of the router beside the broker."""
    sink = {"type": "nats-jetstream", "servers": servers, "stream": "PLANT", "ack_timeout": "1s", "retry": RETRY}
    return {
        "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["plant/#"]}},
        "sinks": {"central": sink},
    }


def central(servers: list[str], folder: Path) -> dict[str, Any]:
    """Configuration of the router that reads the stream."""
    return {
        "sources": {"boxes": {"type": "nats-jetstream", "servers": servers, "stream": "PLANT", "durable": "one", "ack_wait": "1s"}},
        "sinks": {"archive": {"type": "file", "path": str(folder), "once": True, "retry": RETRY}},
    }


async def make_stream(url: str, replicas: int) -> None:
    client = Client()
    await client.connect(url)
    await client.jetstream().add_stream(name="PLANT", subjects=["plant.>"], num_replicas=replicas)
    await client.close()


def by_topic(folder: Path) -> Payloads:
    """Return what has arrived, by topic, in order."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for each in written(folder):
        found[str(each.topic)].append(each.payload)
    return dict(found)


async def killed(process: RouterProcess) -> None:
    await process.kill()
    await process.spawn()


async def test_server_and_routers_killed_under_load_lose_nothing_repeat_nothing_and_keep_each_topic_in_order(
    broker: Mosquitto, server: NatsServer, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    await make_stream(server.url, replicas=1)
    payloads = numbered(TOPICS, MESSAGES)
    for name in ("box", "central"):
        (tmp_path / name).mkdir()
    async with (
        router(tmp_path / "box", box(broker, [server.url])) as sending,
        router(tmp_path / "central", central([server.url], folder)) as receiving,
    ):
        await sending.start()
        await receiving.start()
        publishing = asyncio.create_task(publish_all(broker.port, payloads), name="publish")
        await sending.until(lambda status: status["sinks"]["central"]["delivered"] > 100)
        await asyncio.to_thread(server.restart)
        await killed(receiving)
        await sending.until(lambda status: status["sinks"]["central"]["delivered"] > 1000)
        await killed(sending)
        await asyncio.to_thread(server.restart)
        await publishing
        await sending.until_delivered("central", seconds=90)
        await receiving.until(lambda status: status["sinks"]["archive"]["delivered"] >= MESSAGES, 90)
        assert await receiving.stop() == 0
    found = by_topic(folder)
    assert found == payloads


@pytest.mark.skipif("NATS_CLUSTER_KILLS" not in os.environ, reason="takes a minute: set NATS_CLUSTER_KILLS to the number of kills")
@pytest.mark.timeout(900)
async def test_nodes_of_a_cluster_killed_in_turn_lose_nothing(broker: Mosquitto, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    payloads = numbered(TOPICS, MESSAGES)
    for name in ("box", "central"):
        (tmp_path / name).mkdir()
    with NatsCluster(tmp_path / "nats") as cluster:
        await make_stream(cluster.urls[0], replicas=3)
        async with (
            router(tmp_path / "box", box(broker, cluster.urls)) as sending,
            router(tmp_path / "central", central(cluster.urls, folder)) as receiving,
        ):
            await sending.start()
            await receiving.start()
            publishing = asyncio.create_task(publish_all(broker.port, payloads), name="publish")
            for kill in range(int(os.environ["NATS_CLUSTER_KILLS"])):
                await asyncio.sleep(1)
                await asyncio.to_thread(cluster.nodes[kill % 3].restart)
                await asyncio.to_thread(cluster.wait_for_leader)
            await publishing
            await sending.until_delivered("central", seconds=120)
            await receiving.until(lambda status: status["sinks"]["archive"]["delivered"] >= MESSAGES, 120)
            await asyncio.sleep(3)
            assert await receiving.stop() == 0
    found = by_topic(folder)
    assert {topic: set(each) for topic, each in found.items()} == {topic: set(each) for topic, each in payloads.items()}
    doubled = sum(len(each) - len(set(each)) for each in found.values())
    disordered = sum(each != sorted(each, key=payloads[topic].index) for topic, each in found.items())
    print(f"{sum(map(len, payloads.values()))} messages, {doubled} doubled, {disordered} topics out of order")
    assert doubled == 0
    assert disordered == 0
