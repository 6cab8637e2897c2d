"""Contract of the sink `nats`, against a real server.

Covers: edgerouter_nats.core.sink, edgerouter_nats.outgoing, tests/support/nats.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from edgerouter.testing import Received, SinkConformance
from edgerouter_nats.core.sink import NatsSink
from edgerouter_nats.subjects import SUBJECT
from support.nats.cluster import NatsServer
from support.nats.proxy import NatsProxy

NOTHING = "core NATS answers nothing to a message, unless it is refused"


class TestNats(SinkConformance):
    sink_class = NatsSink
    unsupported: ClassVar[Mapping[str, str]] = {"fail": NOTHING, "throttle": NOTHING, "reject": NOTHING, "fail_once": NOTHING}

    @pytest.fixture
    async def server(self, nats: NatsServer) -> AsyncIterator[NatsProxy]:
        prefix = f"t{uuid.uuid4().hex}"
        messages: list[Msg] = []
        client = Client()
        await client.connect(nats.url)

        async def arrived(message: Msg) -> None:
            messages.append(message)

        async def stored() -> Sequence[Received]:
            await client.flush()
            return [
                Received(each.data, SUBJECT.topic(each.subject).removeprefix(f"{prefix}/"), (each.headers or {})["Nats-Msg-Id"])
                for each in messages
            ]

        await client.subscribe(f"{prefix}.>", cb=arrived)
        await client.flush()
        async with NatsProxy(nats.port, f"{prefix}.", stored).running() as proxy:
            self.prefix = prefix
            yield proxy
        await client.close()

    @pytest.fixture
    def config(self, server: NatsProxy) -> Mapping[str, Any]:
        return {"servers": [server.url], "subject": f"{self.prefix}.{{topic}}", "token": "a-secret-of-the-test"}
