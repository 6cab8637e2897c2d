"""With only the cloud block's variables, messages flow in both directions between the cloud and the broker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import pytest

from support.amqp.conformance import EventHubsServer
from support.amqp.filling import put
from support.aws.sqs_consumer import SqsConsumerServer
from support.cloud_block import AWS_KEY, AWS_SECRET, environment_router, google_account, publish
from support.google.identity import PROJECT, Identity
from support.google.pubsub import CONSUME, PUBLISH
from support.google.pubsub_consumer import PubsubConsumerServer
from support.mosquitto import Mosquitto
from support.mqtt_source import eventually

IN, OUT = [b"open", "größe".encode(), b'{"valve": 1}'], [b"61.2", b"61.3"]


@dataclass(frozen=True, slots=True)
class Cloud:
    """A service that sends and receives."""

    variables: dict[str, str]
    send: Callable[[], None]
    """Send `IN` to the device."""
    has: Callable[[], list[bytes]]
    """Return the messages that arrived from the device."""
    done: Callable[[], bool]
    """True once nothing is left to receive."""


@asynccontextmanager
async def sqs(_: Identity) -> AsyncIterator[Cloud]:
    async with SqsConsumerServer().running() as server:
        server.create("readings")
        server.create("commands")
        variables = {
            "AWS_SQS_QUEUE_NAME": "readings",
            "AWS_SQS_REGION": "eu-west-1",
            "AWS_SQS_ACCESS_KEY": AWS_KEY,
            "AWS_SQS_SECRET_KEY": AWS_SECRET,
            "EDGEROUTER__SINKS__AWS_SQS__ENDPOINT_URL": server.url,
            "EDGEROUTER__SOURCES__AWS_SQS__ENDPOINT_URL": server.url,
            "EDGEROUTER__SOURCES__AWS_SQS__QUEUE": "commands",
        }
        yield Cloud(
            variables,
            lambda: server.put("commands", *[body.decode() for body in IN]),
            lambda: (
                [message.payload for message in server.taken]
                or [held.entry["MessageBody"].encode() for held in server.held["readings"].values()]
            ),
            lambda: server.left("commands") == (0, 0),
        )


@asynccontextmanager
async def event_hubs(_: Identity) -> AsyncIterator[Cloud]:
    async with EventHubsServer().running() as server:
        variables = {"AZURE_EH_CONNECTIONSTRING": server.connection_string(), "AZURE_EH_CONSUMER_GROUP": "edge"}
        yield Cloud(
            variables,
            lambda: put(server, 1, *IN),
            lambda: [event.body for event in server.hub.events if event.body not in IN],
            lambda: True,
        )


@asynccontextmanager
async def pubsub(identity: Identity) -> AsyncIterator[Cloud]:
    topic, name = f"projects/{PROJECT}/topics/readings", f"projects/{PROJECT}/subscriptions/commands"
    identity.grant(topic, PUBLISH)
    identity.grant(name, CONSUME)
    async with PubsubConsumerServer(identity).running() as server:
        server.create(topic)
        server.subscribe(name)
        tuning = {
            f"EDGEROUTER__{section}__GCP_PUBSUB__{field}": value
            for section in ("SINKS", "SOURCES")
            for field, value in (("ENDPOINT", server.url), ("TOKEN_URI", f"{identity.url}/token"))
        }
        account = google_account("GCP_PUBSUB", identity)
        yield Cloud(
            {"GCP_PUBSUB_TOPIC": "readings", "GCP_PUBSUB_SUBSCRIPTION": "commands", **account, **tuning},
            lambda: server.put(name, *IN),
            lambda: [message.data for message in server.topics[topic].messages],
            lambda: server.left(name) == (0, 0),
        )


@pytest.mark.parametrize("service", [sqs, event_hubs, pubsub])
async def test_messages_go_both_ways_and_none_comes_back(
    service: Callable[[Identity], AsyncIterator[Cloud]], identity: Identity, broker: Mosquitto, tmp_path: Path
) -> None:
    assert "RELAY_IN_TOPIC" not in os.environ
    received: list[bytes] = []
    async with (
        service(identity) as cloud,  # type: ignore[attr-defined]  # a context manager, as decorated
        aiomqtt.Client("127.0.0.1", broker.port) as client,
        environment_router(tmp_path / "router", cloud.variables, {"MQTT_HOST": broker.url, "RELAY_IN_TOPIC": "commands"}) as router,
    ):

        async def listen() -> None:
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                received.append(message.payload)

        await client.subscribe("commands", qos=1)
        listening = asyncio.create_task(listen())
        await router.spawn()
        await router.until(
            lambda status: len(status["sources"]) == 2 and all(each["connected"] for each in status["sources"].values())
        )
        await publish(broker.port, OUT)
        cloud.send()
        await eventually(lambda: sorted(received) == sorted(IN), 30)
        await eventually(lambda: sorted(cloud.has()) == sorted(OUT), 30)
        await eventually(cloud.done, 30)
        status = await router.until_delivered()
        assert await router.stop() == 0
        listening.cancel()
    matched = {name: sink["matched"] for name, sink in status["sinks"].items()}
    assert matched.pop("relay-in") == len(IN)
    assert set(matched.values()) == {len(OUT)}
    assert sorted(received) == sorted(IN)
