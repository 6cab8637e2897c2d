"""A router process from YAML moves messages from mosquitto into Pub/Sub and Cloud Storage: complete, byte for byte, in order.

Covers: edgerouter_gcp.pubsub.sink, edgerouter_gcp.storage.sink.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.by_topic import Payloads, numbered, publish_all
from support.google.identity import ACCOUNT, Identity
from support.google.pubsub import CONSUME, GET, PubsubServer
from support.google.service import GoogleService
from support.google.storage import StorageServer, length_prefixed
from support.mosquitto import Mosquitto
from support.router import RouterProcess, router

TOPIC = "projects/plant/topics/telemetry"
SUBSCRIPTION = "projects/plant/subscriptions/all"
BUCKET = "plant-archive"
KEYS = 20


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    settings = ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")
    with Mosquitto(tmp_path / "broker", settings) as broker:
        yield broker


@pytest.fixture
def config(broker: Mosquitto, pubsub: PubsubServer, storage: StorageServer, identity: Identity, tmp_path: Path) -> dict[str, Any]:
    key_file = tmp_path / "key.json"
    key_file.write_text(json.dumps(identity.service_account()))
    retry = {"first_delay": "20ms", "max_delay": "200ms"}
    return {
        "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["plant/#"]}},
        "sinks": {
            "telemetry": {
                "type": "gcp-pubsub",
                "topic": "telemetry",
                "ordering_key": "{topic}",
                "compression": True,
                "endpoint": pubsub.url,
                "credentials_file": str(key_file),
                "concurrency": 4,
                "retry": retry,
            },
            "archive": {
                "type": "gcp-storage",
                "bucket": BUCKET,
                "key": "{topic}/{first:12}-{id}.bin.gz",
                "framing": "length-prefixed",
                "endpoint": storage.url,
                "credentials_file": str(key_file),
                "concurrency": 4,
                "batch": {"max_bytes": "256KiB", "linger": "200ms"},
                "retry": retry,
            },
        },
    }


async def publish(port: int, count: int, start: int = 0) -> Payloads:
    payloads = numbered(KEYS, count, start)
    await publish_all(port, payloads)
    return payloads


async def pulled(server: PubsubServer) -> list[Mapping[str, Any]]:
    """Everything of the subscription, as a consumer reads it."""
    assert server.identity is not None
    server.identity.grant(SUBSCRIPTION, CONSUME)
    token = server.identity.issue(ACCOUNT)["access_token"]
    messages: list[Mapping[str, Any]] = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}, raise_for_status=True) as session:
        root = f"{server.url}/v1/{SUBSCRIPTION}"
        await session.put(root, json={"topic": TOPIC, "enableMessageOrdering": True})
        while True:
            async with session.post(f"{root}:pull", json={"maxMessages": 1000}) as response:
                received = (await response.json()).get("receivedMessages", [])
            if not received:
                return messages
            messages += [{**item["message"], "data": base64.b64decode(item["message"]["data"])} for item in received]
            await session.post(f"{root}:acknowledge", json={"ackIds": [item["ackId"] for item in received]})


async def in_pubsub(server: PubsubServer) -> Payloads:
    """Payloads by topic; a message that was sent again counts where it came first."""
    seen = set()
    payloads: Payloads = defaultdict(list)
    for message in await pulled(server):
        assert message["orderingKey"] == message["attributes"]["topic"]
        if message["attributes"]["id"] not in seen:
            seen.add(message["attributes"]["id"])
            payloads[message["orderingKey"]].append(message["data"])
    return dict(payloads)


def in_storage(server: StorageServer) -> Payloads:
    """Payloads by topic, objects in the order of their names."""
    bucket = server.buckets[BUCKET]
    assert len(bucket.writes) == len(bucket.objects), "an object was written twice"
    payloads: Payloads = defaultdict(list)
    for name in sorted(bucket.objects):
        payloads[name.rpartition("/")[0]] += [item.payload for item in length_prefixed(bucket.objects[name])]
    return dict(payloads)


async def test_3000_messages_arrive_in_both_services(
    config: dict[str, Any], broker: Mosquitto, pubsub: PubsubServer, storage: StorageServer, tmp_path: Path
) -> None:
    async with router(tmp_path, config) as process:
        await process.start()
        published = await publish(broker.port, 3_000)
        await delivered(process, 3_000)
        assert await process.stop() == 0
    assert await in_pubsub(pubsub) == published
    assert in_storage(storage) == published
    assert len(pubsub.topics[TOPIC].messages) == 3_000


TROUBLES = ("fail", "throttle", "refuse", "cut_next", "lose_next_response", "tokens end", "stall", "lose_next_response")


async def test_nothing_is_lost_doubled_or_out_of_order_while_everything_fails_in_turn(
    config: dict[str, Any], broker: Mosquitto, pubsub: PubsubServer, storage: StorageServer, tmp_path: Path
) -> None:
    published: Payloads = defaultdict(list)
    async with router(tmp_path, config) as process:
        await process.start()
        for number, trouble in enumerate(TROUBLES):
            before = [await server.requests() for server in (pubsub, storage)]
            await begin(trouble, pubsub, storage)
            for topic, payloads in (await publish(broker.port, 500, number * 500)).items():
                published[topic] += payloads
            async with asyncio.timeout(30):
                for server, count in zip((pubsub, storage), before, strict=True):
                    while await server.requests() == count:
                        await asyncio.sleep(0.01)
            for server in (pubsub, storage):
                await server.heal()
        status = await delivered(process, 500 * len(TROUBLES))
        assert await process.stop() == 0
    assert all(sink["dead_lettered"] == 0 and sink["failed_writes"] > 0 for sink in status["sinks"].values())
    assert await in_pubsub(pubsub) == published
    assert in_storage(storage) == published


async def test_a_router_that_is_killed_before_it_heard_the_answers_leaves_the_same_objects(
    config: dict[str, Any], broker: Mosquitto, pubsub: PubsubServer, storage: StorageServer, tmp_path: Path
) -> None:
    """Both services took what was in flight; the next run writes the same objects again, and Cloud Storage keeps the first."""
    async with router(tmp_path, config) as process:
        await process.start()
        await pubsub.stall()
        await storage.stall()
        published = await publish(broker.port, 1_000)
        await process.until(lambda status: all(sink["matched"] == 1_000 for sink in status["sinks"].values()))
        async with asyncio.timeout(30):
            while not (pubsub.topics[TOPIC].messages and storage.buckets[BUCKET].objects):
                await asyncio.sleep(0.01)
        in_flight = set(storage.buckets[BUCKET].objects)
        await process.kill()
        await pubsub.heal()
        await storage.heal()
        await process.start()
        await process.until(lambda status: all(sink["pending"] == 0 for sink in status["sinks"].values()))
        assert await process.stop() == 0
    assert in_flight < set(storage.buckets[BUCKET].objects)
    assert await in_pubsub(pubsub) == published
    assert in_storage(storage) == published


async def begin(trouble: str, *servers: GoogleService) -> None:
    for server in servers:
        if trouble == "tokens end":
            assert server.identity is not None
            server.identity.end_all_tokens()
        elif trouble == "throttle":
            await server.throttle(0.5)
        else:
            await getattr(server, trouble)()


async def delivered(process: RouterProcess, count: int) -> dict[str, Any]:
    return await process.until(lambda status: all(sink["delivered"] == count for sink in status["sinks"].values()))


async def test_check_connect_distinguishes_a_missing_topic_from_a_missing_role(
    config: dict[str, Any], pubsub: PubsubServer, storage: StorageServer, identity: Identity, tmp_path: Path
) -> None:
    pubsub.topics.clear()
    identity.grant(TOPIC, GET)
    identity.revoke(BUCKET)
    async with router(tmp_path, config) as process:
        code, said = await process.check_connect()
    assert code == 2, said
    assert "there is no such topic" in said
    assert "grant roles/storage.objectCreator on the bucket to router@plant" in said
