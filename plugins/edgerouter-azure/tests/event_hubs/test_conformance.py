"""The Event Hubs sink keeps every promise of the sink contract, over both transports, with and without a partition key.

Covers: edgerouter_azure.event_hubs.link_pool, edgerouter_azure.event_hubs.producer_link, edgerouter_azure.event_hubs.sink.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from edgerouter.testing import SinkConformance
from edgerouter_azure.event_hubs.sink import EventHubsSink
from support.amqp.conformance import EventHubsServer
from support.certificates import Authority


class TestEventHubsSink(SinkConformance):
    sink_class = EventHubsSink
    unsupported = {"fail_once": "a batch is taken whole or not at all"}
    most_held_seconds = 0.25  # the SDK loads the authorities' certificates at each connect, on the event loop

    @pytest.fixture
    async def server(self) -> AsyncIterator[EventHubsServer]:
        async with EventHubsServer().running() as running:
            yield running
            assert running.service.problems == []

    @pytest.fixture
    def config(self, server: EventHubsServer) -> Mapping[str, Any]:
        return {"connection_string": server.connection_string(), "partition_key": "{topic}"}


class TestEventHubsSinkOverWebSocket(TestEventHubsSink):
    """With TLS: plain WebSockets are deprecated in the SDK's use of aiohttp."""

    keeps_order = False  # without a partition key the service spreads the batches

    @pytest.fixture
    async def server(self, server_tls: ssl.SSLContext) -> AsyncIterator[EventHubsServer]:
        async with EventHubsServer(tls=server_tls).running() as running:
            yield running
            assert running.service.problems == []

    @pytest.fixture
    def config(self, server: EventHubsServer, authority: Authority) -> Mapping[str, Any]:
        return {
            "connection_string": server.connection_string(websocket=True),
            "transport": "websocket",
            "endpoint": f"localhost:{server.websocket_port}",
            "ca_file": str(authority.certificate),
        }
