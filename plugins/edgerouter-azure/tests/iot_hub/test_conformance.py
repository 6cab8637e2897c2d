"""The IoT Hub sink keeps every promise of the sink contract, at a hub that closes the connection for what it does not allow.

Covers: edgerouter_azure.iot_hub.bag, edgerouter_azure.iot_hub.sink.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import pytest

from edgerouter.testing import SinkConformance
from edgerouter_azure.iot_hub.sink import IotHubSink
from support.azure.iot_hub import IotHub, IotHubServer
from support.certificates import Authority


class TestIotHubSink(SinkConformance):
    sink_class = IotHubSink
    throttle_tells_wait = False  # the hub closes the connection without a word
    unsupported: ClassVar[Mapping[str, str]] = {
        "reject": "a hub looks at no payload",
        "fail_once": "a hub looks at no payload",
        "max_bytes": "each message is published by itself",
    }

    @pytest.fixture
    async def server(self, server_tls: ssl.SSLContext) -> AsyncIterator[IotHubServer]:
        async with IotHubServer(IotHub(), server_tls).running() as running:
            yield running
            assert running.hub.problems + running.hub.faults == []

    @pytest.fixture
    def config(self, server: IotHubServer, authority: Authority) -> Mapping[str, Any]:
        return {
            "connection_string": server.hub.connection_string(),
            "endpoint": server.endpoint,
            "ca_file": str(authority.certificate),
        }
