"""A server of Event Hubs, shared by the tests of its sink."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.amqp.conformance import EventHubsServer


@pytest.fixture
async def server() -> AsyncIterator[EventHubsServer]:
    async with EventHubsServer().running() as running:
        yield running
        assert running.service.problems == []
