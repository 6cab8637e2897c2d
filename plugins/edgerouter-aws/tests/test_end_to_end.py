"""A router process from YAML moves messages from mosquitto into SQS and S3, on moto and on servers that fail in every way.

Covers: edgerouter_aws.s3.sink, edgerouter_aws.sqs.sink.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from moto.server import ThreadedMotoServer
from moto.sqs.models import Queue, sqs_backends

from edgerouter.testing import Received
from support.aws.s3 import S3Server, Stored
from support.aws.sqs import SqsServer
from support.by_topic import Payloads, publish_all
from support.mosquitto import Mosquitto
from support.records import records
from support.router import RouterProcess, router

FIFO = "plant-orders.fifo"
GROUPS = 40
KEYS = {"region": "eu-west-1", "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    settings = ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")
    with Mosquitto(tmp_path / "broker", settings) as broker:
        yield broker


def add_message(queue: Queue, message: Any) -> None:
    """Do as moto does, with a set of deduplication ids in place of a search of the whole queue."""
    key = message.deduplication_id
    known = queue.__dict__.setdefault("known_ids", set())
    if key is None or key not in known:
        queue._messages.append(message)
        known.add(key)


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Moto's server; it looks at all messages of a queue for each message that comes in, unless it is kept from it."""
    for counter in ("messages", "messages_delayed", "messages_not_visible"):
        monkeypatch.setattr(Queue, f"approximate_number_of_{counter}", property(lambda queue: len(queue._messages)))
    monkeypatch.setattr(Queue, "add_message", add_message)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    sqs_backends.reset()


def config(broker: Mosquitto, sqs_url: str, s3_url: str, retry: dict[str, Any] | None = None) -> dict[str, Any]:
    policies: dict[str, Any] = {"concurrency": 4, "retry": retry or {}}
    return {
        "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["plant/#"]}},
        "sinks": {
            "standard": {"type": "aws-sqs", "queue": "plant-alerts", "endpoint_url": sqs_url, **KEYS, **policies},
            "fifo": {"type": "aws-sqs", "queue": FIFO, "endpoint_url": sqs_url, **KEYS, **policies},
            "archive": {
                "type": "aws-s3",
                "bucket": "plant-archive",
                "key": "{topic}/{first:12}-{id}.bin.gz",
                "framing": "length-prefixed",
                "addressing": "path",
                "endpoint_url": s3_url,
                "batch": {"max_bytes": "256KiB", "linger": "200ms"},
                **KEYS,
                **policies,
            },
        },
    }


async def publish(port: int, count: int) -> Payloads:
    """Publish at QoS 1, topic by topic in order; every fourth payload is binary."""
    dice = random.Random(count)
    payloads: Payloads = {f"plant/{number}/t": [] for number in range(GROUPS)}
    for number in range(count):
        filler = dice.randbytes(dice.randrange(80))
        payloads[f"plant/{number % GROUPS}/t"].append(b"%d " % number + (filler if number % 4 == 0 else filler.hex().encode()))
    await publish_all(port, payloads)
    return payloads


async def delivered(process: RouterProcess, count: int, seconds: float = 240) -> dict[str, Any]:
    return await process.until(lambda status: all(sink["delivered"] == count for sink in status["sinks"].values()), seconds)


# On moto


def client(service: str, url: str) -> Any:
    return get_session().create_client(
        service, region_name="eu-west-1", endpoint_url=url, aws_access_key_id="A", aws_secret_access_key="s"
    )


def in_queue(name: str) -> list[Any]:
    """All messages of a queue; receiving them one by one, moto would look at each message for each of them."""
    return list(sqs_backends["123456789012"]["eu-west-1"].queues[name]._messages)


def payload_of(message: Any) -> bytes:
    return base64.b64decode(message.body) if "encoding" in message.message_attributes else message.body.encode()


async def test_messages_arrive_in_two_queues_and_a_bucket_of_moto(broker: Mosquitto, moto: str, tmp_path: Path) -> None:
    """Byte for byte, complete, in order within each group, every id once. Moto needs milliseconds for a message."""
    async with client("sqs", moto) as sqs, client("s3", moto) as s3:
        await sqs.create_queue(QueueName="plant-alerts")
        await sqs.create_queue(QueueName=FIFO, Attributes={"FifoQueue": "true"})
        await s3.create_bucket(Bucket="plant-archive", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        async with router(tmp_path, config(broker, moto, moto)) as process:
            await process.start()
            published = await publish(broker.port, 600)
            status = await delivered(process, 600)
            assert await process.stop() == 0
        for sink in status["sinks"].values():
            assert (sink["matched"], sink["dead_lettered"], sink["dropped"]) == (600, 0, 0)
        in_bucket: Payloads = defaultdict(list)
        async for page in s3.get_paginator("list_objects_v2").paginate(Bucket="plant-archive"):
            for item in page["Contents"]:
                stored = await s3.get_object(Bucket="plant-archive", Key=item["Key"])
                in_bucket[item["Key"].rpartition("/")[0]] += records(gzip.decompress(await stored["Body"].read()))
    assert dict(in_bucket) == published
    for name in ("plant-alerts", FIFO):
        ids = [message.message_attributes["id"]["StringValue"] for message in in_queue(name)]
        assert len(set(ids)) == len(ids) == 600
    by_topic: dict[str, set[bytes]] = defaultdict(set)
    for message in in_queue("plant-alerts"):
        by_topic[message.message_attributes["topic"]["StringValue"]].add(payload_of(message))
    assert by_topic == {topic: set(payloads) for topic, payloads in published.items()}
    in_groups: Payloads = defaultdict(list)
    for message in in_queue(FIFO):
        in_groups[message.group_id].append(payload_of(message))
    assert dict(in_groups) == published


# On the servers of tests/support


def unpack(key: str, stored: Stored) -> list[Received]:
    return [Received(payload) for payload in records(gzip.decompress(stored.body))]


@pytest.fixture
async def s3() -> AsyncIterator[S3Server]:
    async with S3Server(unpack).running() as server:
        yield server


def assert_each_is_there_once(sqs: SqsServer, s3: S3Server, published: Payloads) -> None:
    """The bucket and the FIFO queue hold every payload in order, the standard queue every id once."""
    in_groups: Payloads = defaultdict(list)
    for entry in sqs.queues[FIFO].entries:
        encoded = "encoding" in entry["MessageAttributes"]
        body = entry["MessageBody"].encode()
        in_groups[entry["MessageGroupId"]].append(base64.b64decode(body) if encoded else body)
    assert dict(in_groups) == published
    standard = sqs.queues["plant-alerts"].entries
    assert len({entry["MessageAttributes"]["id"]["StringValue"] for entry in standard}) == sum(map(len, published.values()))
    in_bucket: Payloads = defaultdict(list)
    for key in sorted(s3.objects):
        in_bucket[key.rpartition("/")[0]] += [item.payload for item in unpack(key, s3.objects[key])]
    assert dict(in_bucket) == published


@pytest.mark.timeout(300)
async def test_3000_messages_arrive_in_two_queues_and_a_bucket(
    broker: Mosquitto, sqs: SqsServer, s3: S3Server, tmp_path: Path
) -> None:
    sqs.create("plant-alerts")
    sqs.create(FIFO)
    async with router(tmp_path, config(broker, sqs.url, s3.url)) as process:
        await process.start()
        published = await publish(broker.port, 3_000)
        status = await delivered(process, 3_000)
        assert await process.stop() == 0
    for sink in status["sinks"].values():
        assert (sink["matched"], sink["dead_lettered"], sink["dropped"]) == (3_000, 0, 0)
    assert len(sqs.queues["plant-alerts"].entries) == len(sqs.queues[FIFO].entries) == 3_000
    assert_each_is_there_once(sqs, s3, published)


TROUBLES = ("fail", "throttle", "partly", "refuse", "cut_next", "lose_next_response", "stall", "lose_next_response")


async def make_trouble(sqs: SqsServer, s3: S3Server) -> None:
    """Each trouble for both services until it has been felt."""
    for trouble in TROUBLES:
        before = [await server.requests() for server in (sqs, s3)]
        if trouble == "partly":
            sqs.fail_entry = lambda entry: ("InternalError", False) if int(entry["Id"]) % 10 in (2, 5, 8) else None
        else:
            for server in (sqs, s3):
                await getattr(server, trouble)(*([1] if trouble == "throttle" else []))
        async with asyncio.timeout(30):
            while await sqs.requests() < before[0] + 3 or (trouble != "partly" and await s3.requests() <= before[1]):
                if trouble == "refuse":
                    break  # a sink that is refused may be opening, which carries no messages
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1 if trouble == "refuse" else 0)
        sqs.fail_entry = lambda entry: None
        for server in (sqs, s3):
            await server.heal()


async def test_nothing_is_lost_doubled_or_out_of_order_while_everything_fails_in_turn(
    broker: Mosquitto, sqs: SqsServer, s3: S3Server, tmp_path: Path
) -> None:
    """A 403 dead-letters nothing; a retry leaves one object; a FIFO queue has no duplicate and keeps the order of each group."""
    sqs.create("plant-alerts")
    sqs.create(FIFO)
    settings = config(broker, sqs.url, s3.url, retry={"first_delay": "20ms", "max_delay": "200ms"})
    for sink in settings["sinks"].values():
        sink["timeout"] = "2s"
    async with router(tmp_path, settings) as process:
        await process.start()
        trouble = asyncio.create_task(make_trouble(sqs, s3))
        published: Payloads = defaultdict(list)
        while not trouble.done():
            for topic, payloads in (await publish(broker.port, 800)).items():
                published[topic] += payloads
        await trouble
        count = sum(map(len, published.values()))
        status = await delivered(process, count)
        assert await process.stop() == 0
    for sink in status["sinks"].values():
        assert (sink["matched"], sink["dead_lettered"], sink["dropped"]) == (count, 0, 0)
    assert_each_is_there_once(sqs, s3, published)


async def test_keys_from_secrets_manager_are_read_again_when_they_were_rotated(
    broker: Mosquitto, moto: str, sqs: SqsServer, tmp_path: Path
) -> None:
    """The old key is refused, nothing is dead-lettered, and the new one delivers, without a restart of the router."""
    sqs.create("plant-alerts")
    async with client("secretsmanager", moto) as secrets:
        await secrets.create_secret(Name="plant/aws", SecretString='{"id": "AKIAOLD", "secret": "s1"}')
        sqs.known_key = "AKIAOLD"
        store = {"type": "aws-secrets-manager", "endpoint_url": moto, **KEYS}
        sink = {
            "type": "aws-sqs",
            "queue": "plant-alerts",
            "endpoint_url": sqs.url,
            "region": "eu-west-1",
            "access_key_id": "${vault:plant/aws#id}",
            "secret_access_key": "${vault:plant/aws#secret}",
            "retry": {"first_delay": "20ms", "max_delay": "100ms"},
        }
        sources = {"local": {"type": "mqtt", "url": broker.url, "topics": ["plant/#"]}}
        async with router(tmp_path, {"sources": sources, "sinks": {"alerts": sink}, "secret_stores": {"vault": store}}) as process:
            await process.start()
            await publish(broker.port, 100)
            await delivered(process, 100)
            sqs.known_key = "AKIANEW"
            await publish(broker.port, 100)
            await process.until(lambda status: status["sinks"]["alerts"]["state"] == "unauthorized")
            await secrets.put_secret_value(SecretId="plant/aws", SecretString='{"id": "AKIANEW", "secret": "s2"}')
            status = await delivered(process, 200)
            assert await process.stop() == 0
    assert status["sinks"]["alerts"]["dead_lettered"] == 0
    assert "s1" not in process.tail()


async def test_check_connect_says_which_is_wrong_and_what_to_grant(
    broker: Mosquitto, sqs: SqsServer, s3: S3Server, tmp_path: Path
) -> None:
    sqs.create(FIFO)
    sqs.denied = {"SendMessageBatch"}
    s3.region = "eu-central-1"
    async with router(tmp_path, config(broker, sqs.url, s3.url)) as process:
        code, said = await process.check_connect()
    assert code == 2, said
    assert "queue plant-alerts in eu-west-1: the queue does not exist" in said
    assert f"grant sqs:SendMessage on arn:aws:sqs:eu-west-1:123456789012:{FIFO}" in said
    assert "it is in another region; set region: eu-central-1" in said
    assert KEYS["secret_access_key"] not in said
