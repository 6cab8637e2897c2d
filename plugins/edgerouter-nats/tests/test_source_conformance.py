"""Contract of the sources `nats`, `nats-jetstream` and `nats-kv`, against a real server.

Covers: edgerouter_nats.core.source, edgerouter_nats.jetstream.source, edgerouter_nats.key_value.source.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest
from nats.aio.client import Client
from nats.js.api import KeyValueConfig

from edgerouter.testing import SourceConformance
from edgerouter_nats.core.source import NatsSource
from edgerouter_nats.jetstream.source import JetStreamSource
from edgerouter_nats.key_value.source import KeyValueSource
from support.nats.cluster import NatsServer


@pytest.fixture
async def client(nats: NatsServer) -> AsyncIterator[Client]:
    client = Client()
    await client.connect(nats.url)
    yield client
    await client.close()


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex}"


class TestNats(SourceConformance):
    source_class = NatsSource
    unsupported: ClassVar[Mapping[str, str]] = {
        "acknowledged": "core NATS has no acknowledgements",
        "memory": "subscriptions are bounded in the client, which drops and counts beyond",
    }

    @pytest.fixture
    def config(self, nats: NatsServer, name: str) -> Mapping[str, Any]:
        return {"servers": [nats.url], "subjects": [f"{name}.>"], "queue": "routers"}

    @pytest.fixture
    def send(self, client: Client, name: str) -> Any:
        async def send(payloads: Sequence[bytes]) -> None:
            for payload in payloads:
                await client.publish(f"{name}.a", payload)
            await client.flush()

        return send


class TestJetStream(SourceConformance):
    source_class = JetStreamSource
    unsupported: ClassVar[Mapping[str, str]] = {"memory": "the consumer's max_unacknowledged bounds it, in the server"}

    @pytest.fixture
    def acknowledged(self, client: Client, name: str) -> Any:
        async def acknowledged() -> int:
            return int((await client.jetstream().consumer_info(name, "router")).ack_floor.stream_seq)

        return acknowledged

    @pytest.fixture
    async def config(self, nats: NatsServer, client: Client, name: str) -> Mapping[str, Any]:
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        return {"servers": [nats.url], "stream": name, "durable": "router"}

    @pytest.fixture
    def send(self, client: Client, name: str) -> Any:
        async def send(payloads: Sequence[bytes]) -> None:
            for payload in payloads:
                await client.jetstream().publish(f"{name}.a", payload)

        return send


class TestKeyValue(SourceConformance):
    source_class = KeyValueSource
    unsupported: ClassVar[Mapping[str, str]] = {
        "acknowledged": "a change of a bucket is acknowledged as a message of its stream, which TestJetStream covers",
        "memory": "the consumer's max_unacknowledged bounds it, in the server",
    }

    @pytest.fixture
    async def config(self, nats: NatsServer, client: Client, name: str) -> Mapping[str, Any]:
        await client.jetstream().create_key_value(KeyValueConfig(name))
        return {"servers": [nats.url], "bucket": name, "durable": "router"}

    @pytest.fixture
    def send(self, client: Client, name: str) -> Any:
        async def send(payloads: Sequence[bytes]) -> None:
            bucket = await client.jetstream().key_value(name)
            for number, payload in enumerate(payloads):
                await bucket.put(f"key.{number}", payload)

        return send
