"""Contract of the sink `nats-kv`, against a real server.

Covers: edgerouter_nats.key_value.bucket, edgerouter_nats.key_value.sink.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest
from nats.aio.client import Client
from nats.js.api import KeyValueConfig

from edgerouter.testing import Received, SinkConformance, make_context, make_messages
from edgerouter_nats.key_value.sink import KeyValueSink, KeyValueSinkConfig
from edgerouter_nats.subjects import KEY
from support.nats.cluster import NatsServer
from support.nats.proxy import NatsProxy
from support.nats.stored import stored_in


class TestKeyValue(SinkConformance):
    sink_class = KeyValueSink
    effectively_once: ClassVar[bool] = True
    throttle_tells_wait: ClassVar[bool] = False
    unsupported: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    async def server(self, nats: NatsServer) -> AsyncIterator[NatsProxy]:
        self.bucket = f"b{uuid.uuid4().hex}"
        client = Client()
        await client.connect(nats.url)
        # an ordinary bucket of 64 versions would forget the older of a thousand
        await client.jetstream().create_key_value(KeyValueConfig(self.bucket))
        info = await client.jetstream().stream_info(f"KV_{self.bucket}")
        info.config.max_msgs_per_subject = -1
        await client.jetstream().update_stream(info.config)

        async def stored() -> Sequence[Received]:
            return [
                Received(each.payload, KEY.topic(each.subject.removeprefix(f"$KV.{self.bucket}.")), each.id)
                for each in await stored_in(nats.url, f"KV_{self.bucket}")
            ]

        async with NatsProxy(nats.port, f"$KV.{self.bucket}.", stored).running() as proxy:
            yield proxy
        await client.jetstream().delete_key_value(self.bucket)
        await client.close()

    @pytest.fixture
    def config(self, server: NatsProxy) -> Mapping[str, Any]:
        return {"servers": [server.url], "bucket": self.bucket, "token": "a-secret-of-the-test", "ack_timeout": "2s"}


async def test_a_client_of_the_bucket_gets_the_latest_value_of_a_topic(nats: NatsServer) -> None:
    client = Client()
    await client.connect(nats.url)
    bucket = await client.jetstream().create_key_value(KeyValueConfig("latest"))
    config = KeyValueSinkConfig.model_validate({"servers": [nats.url], "bucket": "latest"})
    async with KeyValueSink.open(config, make_context()) as sink:
        await sink.write(make_messages([b"1", b"2"], topic="plant/line 1/temp"))
    assert (await bucket.get("plant.line=201.temp")).value == b"2"
    await client.close()
