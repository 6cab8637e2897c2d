"""Messages that the router itself has published do not come back to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from edgerouter_gcp.pubsub.source import PubsubSource
from support.google.identity import Identity
from support.google.pubsub import CONSUME
from support.google.pubsub_consumer import PubsubConsumerServer
from support.mqtt_source import eventually
from support.receiving import opened

NAME = "projects/plant/subscriptions/commands"


@pytest.fixture
async def service(identity: Identity) -> AsyncIterator[PubsubConsumerServer]:
    async with PubsubConsumerServer(identity).running() as server:
        identity.grant(NAME, CONSUME)
        server.subscribe(NAME)
        yield server


async def test_own_messages_are_acknowledged_and_not_stored(service: PubsubConsumerServer, account: Mapping[str, Any]) -> None:
    service.put(NAME, b"own", attributes={"id": "0123456789abcdef-7"})
    service.put(NAME, b"other", attributes={"id": "fedcba9876543210-7"})
    settings = {"subscription": "commands", "endpoint": service.url, "skip_own": True, **account}
    async with opened(PubsubSource, settings) as source:
        assert [message.payload for message in await source.messages(1)] == [b"other"]
        await eventually(lambda: service.left(NAME) == (0, 0))
        await source.nothing_comes()
