"""Contract of `gcp-pubsub`, plain, and with ordering keys and gzip.

Covers: edgerouter_gcp.pubsub.envelope, edgerouter_gcp.pubsub.sink.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from edgerouter.testing import SinkConformance
from edgerouter_gcp.pubsub.sink import PubsubSink
from support.google.pubsub import PubsubServer


class TestPubsub(SinkConformance):
    sink_class = PubsubSink
    unsupported: ClassVar[Mapping[str, str]] = {"fail_once": "Pub/Sub takes a request whole or not at all"}
    largest_test_bytes = 10_000_000

    @pytest.fixture
    async def server(self, pubsub: PubsubServer) -> PubsubServer:
        return pubsub

    @pytest.fixture
    def config(self, server: PubsubServer, account: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"topic": "telemetry", "endpoint": server.url, **account}


class TestPubsubWithOrderingKeysAndGzip(TestPubsub):
    keeps_order = True

    @pytest.fixture
    def config(self, server: PubsubServer, account: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"topic": "telemetry", "endpoint": server.url, "ordering_key": "{topic}", "compression": True, **account}
