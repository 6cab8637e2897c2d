"""A strict hub behind TLS, and the configuration that leads to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.azure.iot_hub import IotHub, IotHubServer
from support.certificates import Authority


@pytest.fixture
async def hub(server_tls: ssl.SSLContext) -> AsyncIterator[IotHub]:
    async with IotHubServer(IotHub(), server_tls).running() as running:
        yield running.hub
        assert running.hub.problems + running.hub.faults == []


@pytest.fixture
async def plain_hub() -> AsyncIterator[IotHub]:
    """A hub without TLS, behind a bridge."""
    hub = IotHub()
    server = await asyncio.start_server(hub.take, "127.0.0.1", 0, limit=2**20)
    hub.port = server.sockets[0].getsockname()[1]
    yield hub
    server.close()
    assert hub.problems + hub.faults == []


@pytest.fixture
def fields(hub: IotHub, authority: Authority) -> dict[str, Any]:
    """Fields of a configuration that leads to the hub."""
    return {
        "connection_string": hub.connection_string(),
        "endpoint": f"localhost:{hub.port}",
        "ca_file": str(authority.certificate),
    }
