"""Contract of the sink `nats-jetstream`, against a real server.

Covers: edgerouter_nats.jetstream.codes, edgerouter_nats.jetstream.publishing, edgerouter_nats.jetstream.sink.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest
from nats.aio.client import Client

from edgerouter.testing import Received, SinkConformance
from edgerouter_nats.jetstream.sink import JetStreamSink
from edgerouter_nats.subjects import SUBJECT
from support.nats.cluster import NatsServer
from support.nats.proxy import NatsProxy
from support.nats.stored import stored_in


class TestJetStream(SinkConformance):
    sink_class = JetStreamSink
    effectively_once: ClassVar[bool] = True
    throttle_tells_wait: ClassVar[bool] = False
    unsupported: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    async def server(self, nats: NatsServer) -> AsyncIterator[NatsProxy]:
        self.name = f"t{uuid.uuid4().hex}"
        client = Client()
        await client.connect(nats.url)
        await client.jetstream().add_stream(name=self.name, subjects=[f"{self.name}.>"])

        async def stored() -> Sequence[Received]:
            return [
                Received(each.payload, SUBJECT.topic(each.subject).removeprefix(f"{self.name}/"), each.id)
                for each in await stored_in(nats.url, self.name)
            ]

        async with NatsProxy(nats.port, f"{self.name}.", stored).running() as proxy:
            yield proxy
        await client.jetstream().delete_stream(self.name)
        await client.close()

    @pytest.fixture
    def config(self, server: NatsProxy) -> Mapping[str, Any]:
        return {
            "servers": [server.url],
            "subject": f"{self.name}.{{topic}}",
            "stream": self.name,
            "token": "a-secret-of-the-test",
            "ack_timeout": "2s",
        }
