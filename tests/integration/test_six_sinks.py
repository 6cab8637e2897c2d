"""All six cloud sinks on one source, one of them down: the other five are unaffected, and the sixth catches up."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("edgerouter_aws", reason="plugins/edgerouter-aws is not installed")
pytest.importorskip("edgerouter_azure", reason="plugins/edgerouter-azure is not installed")
pytest.importorskip("edgerouter_gcp", reason="plugins/edgerouter-gcp is not installed")

from aiobotocore.session import get_session
from moto.server import ThreadedMotoServer

from support.amqp.conformance import EventHubsServer
from support.arrivals import Arrivals
from support.azure.azurite import API_VERSION, Azurite
from support.chaos import Chaos, chaos
from support.google.identity import Identity, known_key
from support.google.pubsub import PUBLISH, PubsubServer
from support.google.storage import CREATE, StorageServer
from support.load import Plan, load
from support.mosquitto import Mosquitto
from support.promise import ledgers_hold, spool_is_sound
from support.router import router

MESSAGES = 4_000
AFTERWARDS = 500
"""Messages published after the recovery."""
TOPIC = "projects/plant/topics/telemetry"
AWS = {"region": "eu-west-1", "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI"}

Line = tuple[str, str, bytes]
"""Id, topic and payload of a message as stored by a service."""


@dataclass(frozen=True, slots=True)
class Services:
    """The servers that stand in for three clouds on this machine."""

    moto: str
    events: EventHubsServer
    azurite: Azurite
    name: str
    """Name of the queue, the buckets and the container: new in each test."""
    pubsub: PubsubServer
    storage: StorageServer
    identity: Identity

    def port_of(self, sink: str) -> int:
        """Return the port of a sink's service."""
        urls = {"queue": self.moto, "bucket": self.moto, "blobs": self.azurite.url, "telemetry": self.pubsub.url}
        if sink == "events":
            return self.events.amqp_port
        port = urlsplit(urls.get(sink, self.storage.url)).port
        assert port is not None
        return port


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    settings = ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")
    with Mosquitto(tmp_path / "broker", settings) as broker:
        yield broker


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def services(moto: str, azurite: Azurite) -> AsyncIterator[Services]:
    name = f"six-{azurite.new_container()}"
    async with (
        EventHubsServer().running() as events,
        Identity(known_key()).running() as identity,
        PubsubServer(identity).running() as pubsub,
        StorageServer(identity).running() as storage,
    ):
        identity.grant(TOPIC, PUBLISH)
        identity.grant(name, CREATE)
        pubsub.create(TOPIC)
        storage.create(name)
        async with aws("sqs", moto) as sqs, aws("s3", moto) as s3:
            await sqs.create_queue(QueueName=name)
            await s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": AWS["region"]})
        yield Services(moto, events, azurite, name, pubsub, storage, identity)
        assert events.service.problems == []


def config(broker: Mosquitto, services: Services, ports: Mapping[str, int], folder: Path) -> dict[str, Any]:
    """Configure one router with all six sinks; `ports` gives the port of each service."""
    key_file = folder / "key.json"
    key_file.write_text(json.dumps(services.identity.service_account()))
    events = services.events.connection_string().replace(str(services.events.amqp_port), str(ports["events"]))
    blobs = services.azurite.url.replace(str(services.port_of("blobs")), str(ports["blobs"]))
    archive = {"key": "{time:%H}/{id}.jsonl.gz", "batch": {"linger": "200ms", "max_bytes": "256KiB"}}
    sinks: dict[str, dict[str, Any]] = {
        # packed: moto takes longer per message the more messages there are
        "queue": {
            "type": "aws-sqs", "queue": services.name, "pack": "jsonl", "endpoint_url": f"http://127.0.0.1:{ports['queue']}", **AWS,
        },
        "bucket": {
            "type": "aws-s3", "bucket": services.name, "addressing": "path", "endpoint_url": f"http://127.0.0.1:{ports['bucket']}",
            **AWS, **archive,
        },
        "events": {"type": "azure-event-hubs", "connection_string": events, "partition_key": "{topic}"},
        "blobs": {
            "type": "azure-blob", "connection_string": services.azurite.connection_string(blobs),
            "container": services.name, "api_version": API_VERSION, **archive,
        },
        "telemetry": {
            "type": "gcp-pubsub", "topic": "telemetry", "credentials_file": str(key_file),
            "endpoint": f"http://127.0.0.1:{ports['telemetry']}",
        },
        "objects": {
            "type": "gcp-storage", "bucket": services.name, "credentials_file": str(key_file),
            "endpoint": f"http://127.0.0.1:{ports['objects']}", **archive,
        },
    }  # fmt: skip
    policies = {"concurrency": 4, "retry": {"first_delay": "50ms", "max_delay": "500ms"}}
    return {
        "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"]}},
        "sinks": {name: {**policies, **sink} for name, sink in sinks.items()},
    }


SINKS = ("queue", "bucket", "events", "blobs", "telemetry", "objects")


async def swallow(proxy: Chaos, _services: Services) -> None:
    proxy.black_hole()


async def vanish(proxy: Chaos, _services: Services) -> None:
    proxy.refuse()


async def forbid(_proxy: Chaos, services: Services) -> None:
    await services.storage.refuse()


@pytest.mark.parametrize(
    ("down", "begin"),
    [("telemetry", swallow), ("events", vanish), ("objects", forbid)],
    ids=["Pub/Sub swallows everything", "Event Hubs is not there", "Cloud Storage forbids it"],
)
async def test_five_cloud_sinks_do_not_notice_that_the_sixth_is_down_and_it_catches_up(
    down: str, begin: Callable[[Chaos, Services], Awaitable[None]], broker: Mosquitto, services: Services, tmp_path: Path
) -> None:
    """The five receive everything, once and without a failed write, while the sixth receives nothing; afterwards it catches up."""
    async with chaos(services.port_of(down)) as proxy:
        await begin(proxy, services)
        ports = {sink: services.port_of(sink) for sink in SINKS} | {down: proxy.port}
        settings = config(broker, services, ports, tmp_path)
        settings["sinks"][down]["timeout"] = "5s"
        async with router(tmp_path, settings) as process:
            await process.start()
            async with load(Plan(broker.port, messages=MESSAGES)) as publisher:
                status = await process.until(lambda status: five_are_done(status, down))
                report = await publisher.finish()
            ledgers_hold(status)
            assert report.acknowledged == MESSAGES
            assert {name: sink["failed_writes"] for name, sink in status["sinks"].items() if name != down} == dict.fromkeys(
                set(SINKS) - {down}, 0
            )
            trouble = await process.until(lambda status: status["sinks"][down]["last_error"] != "")
            assert (trouble["sinks"][down]["delivered"], trouble["sinks"][down]["pending"]) == (0, MESSAGES)
            proxy.heal()
            await services.storage.heal()
            async with load(Plan(broker.port, messages=AFTERWARDS, client_id="afterwards")) as publisher:
                more = await publisher.finish()
                status = await process.until(lambda status: delivered(status, SINKS, MESSAGES + AFTERWARDS))
            ledgers_hold(status)
            assert await process.stop() == 0
    assert {sink["dead_lettered"] + sink["dropped"] for sink in status["sinks"].values()} == {0}
    await spool_is_sound(process.spool)
    expected = report.acknowledged_numbers()
    for sink, read in READERS.items():
        found = arrived(await read(services))
        assert found.missing_from(expected) == {}, sink
        assert found.missing_from(more.acknowledged_numbers()) == {}, sink
        # both publishers count from 1, so the ids reveal repeats
        repeats = found.count - len(found.ids)
        assert len(found.ids) == MESSAGES + AFTERWARDS, sink
        assert repeats == 0 or sink == down, f"{repeats} repeats in {sink}"


def five_are_done(status: dict[str, Any], down: str) -> bool:
    return delivered(status, [sink for sink in SINKS if sink != down], MESSAGES) and status["sinks"][down]["matched"] == MESSAGES


def delivered(status: dict[str, Any], sinks: Iterable[str], count: int) -> bool:
    return all(status["sinks"][sink]["delivered"] == count for sink in sinks)


# What the services have


def aws(service: str, url: str) -> Any:
    return get_session().create_client(
        service, region_name="eu-west-1", endpoint_url=url, aws_access_key_id="A", aws_secret_access_key="s"
    )


def from_attributes(attributes: Mapping[str, Any], payload: bytes) -> Line:
    return attributes["id"], attributes["topic"], payload


async def in_queue(services: Services) -> list[Line]:
    found: list[Line] = []
    async with aws("sqs", services.moto) as sqs:
        url = (await sqs.get_queue_url(QueueName=services.name))["QueueUrl"]
        while messages := (
            await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=600)
        ).get("Messages"):
            for message in messages:
                found += from_lines(message["Body"].encode())
    return found


async def in_bucket(services: Services) -> list[Line]:
    found: list[Line] = []
    async with aws("s3", services.moto) as s3:
        async for page in s3.get_paginator("list_objects_v2").paginate(Bucket=services.name):
            for item in page["Contents"]:
                answer = await s3.get_object(Bucket=services.name, Key=item["Key"])
                found += from_object(await answer["Body"].read())
    return found


async def in_event_hub(services: Services) -> list[Line]:
    return [
        (event.message.properties["message-id"], event.message.application_properties["topic"], event.body)
        for event in services.events.hub.events
    ]


async def in_blobs(services: Services) -> list[Line]:
    return [line for blob in services.azurite.blobs(services.name).values() for line in from_object(blob)]


async def in_pubsub(services: Services) -> list[Line]:
    return [from_attributes(message.attributes, message.data) for message in services.pubsub.topics[TOPIC].messages]


async def in_storage(services: Services) -> list[Line]:
    bucket = services.storage.buckets[services.name]
    assert len(bucket.writes) == len(bucket.objects), "an object was written twice"
    return [line for stored in bucket.objects.values() for line in from_object(stored.data)]


def from_object(data: bytes) -> list[Line]:
    return from_lines(gzip.decompress(data))


def from_lines(data: bytes) -> list[Line]:
    lines = [json.loads(line) for line in data.splitlines()]
    return [(line["id"], line["topic"], json.dumps(line["payload"]).encode()) for line in lines]


READERS: Mapping[str, Callable[[Services], Coroutine[Any, Any, list[Line]]]] = {
    "queue": in_queue, "bucket": in_bucket, "events": in_event_hub, "blobs": in_blobs,
    "telemetry": in_pubsub, "objects": in_storage,
}  # fmt: skip


def arrived(lines: Iterable[Line]) -> Arrivals:
    found = Arrivals()
    for id_, topic, payload in lines:
        found.numbers.setdefault(topic, Counter())[json.loads(payload)["n"]] += 1
        found.ids[id_] += 1
    return found
