"""A broker with a small window does not wait for the commit interval."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgerouter import Source, SourceContext
from edgerouter.pipeline.intake import Intake, IntakeStatus
from edgerouter.pipeline.routing import Routing
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.sources.mqtt.source import MqttSource
from edgerouter.spool import open_spool
from support.mosquitto import Mosquitto, running
from support.mqtt_packets import publish as packet_of
from support.mqtt_source import eventually
from support.spools import sqlite
from support.strict_broker import Client, StrictBroker, strict_broker

WINDOW = 10
PATIENCE = 60
BOTH_PROTOCOLS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


@asynccontextmanager
async def stored(folder: Path, url: str, protocol: str, interval: float = 0.02) -> AsyncIterator[IntakeStatus]:
    """A source whose messages a spool stores."""
    async with open_spool(sqlite(folder / "spool", commit_interval=interval)) as spool:
        routing = Routing({})
        intake = Intake("s", spool, lambda: routing, interval)
        context = SourceContext("s", "h", spool.id, intake.flush_now, lambda *_: None, intake.connected)
        config = MqttSourceConfig.model_validate({"url": url, "topics": ("#",), "protocol": protocol, "client_id": "router"})

        @asynccontextmanager
        async def open_source() -> AsyncIterator[Source[Any]]:
            async with MqttSource.open(config, context) as source:
                yield source

        task = asyncio.create_task(intake.run(open_source))
        try:
            yield intake.status
        finally:
            intake.stop()
            await asyncio.wait_for(task, 30)


class Sender:
    """Sends through a window of a fixed number of messages, as RabbitMQ does."""

    def __init__(self, broker: StrictBroker, messages: int, qos: int = 1) -> None:
        self.left = self.total = messages
        self.acknowledged = 0
        self._qos = qos
        self._identifier = 0
        broker.acknowledged = self._next

    def start(self, client: Client) -> None:
        for _ in range(WINDOW):
            self._send(client)

    def _next(self, client: Client) -> None:
        self.acknowledged += 1
        self._send(client)

    def _send(self, client: Client) -> None:
        if self.left:
            self.left -= 1
            self._identifier = self._identifier % 65_535 + 1
            client.send(packet_of("t", b"x", self._qos, self._identifier, properties=b"" if client.connect.version == 5 else None))


@BOTH_PROTOCOLS
@pytest.mark.parametrize("qos", [1, 2])
async def test_a_small_window_waits_for_commits_and_not_for_the_commit_interval(tmp_path: Path, protocol: str, qos: int) -> None:
    windows, interval = 40, 0.5
    async with strict_broker() as broker:
        sender = Sender(broker, windows * WINDOW, qos)
        async with stored(tmp_path, broker.url, protocol, interval) as status:
            client = await broker.client()
            await eventually(lambda: bool(broker.subscribed))
            sender.start(client)
            await eventually(lambda: sender.acknowledged == sender.total, windows * interval / 2)
            assert status.messages == sender.total
            assert status.deliveries <= 2 * windows, "a window is stored in one piece, or nearly"


@BOTH_PROTOCOLS
async def test_a_small_window_is_served_at_half_the_rate_of_a_client_that_acknowledges_at_once(
    tmp_path: Path, protocol: str
) -> None:
    async def seconds(serving: Callable[[str], AbstractAsyncContextManager[object]]) -> float:
        async with strict_broker() as broker:
            sender = Sender(broker, 3000)
            async with serving(broker.url):
                client = await broker.client()
                await eventually(lambda: bool(broker.subscribed))
                began = time.monotonic()
                sender.start(client)
                await eventually(lambda: sender.acknowledged == sender.total, PATIENCE)
                return time.monotonic() - began

    at_once = await seconds(lambda url: acknowledging_at_once(url, protocol))
    assert await seconds(lambda url: stored(tmp_path, url, protocol)) <= 2 * at_once


@BOTH_PROTOCOLS
async def test_mosquitto_with_a_small_window_is_served_at_half_the_rate_of_a_client_that_acknowledges_at_once(
    tmp_path: Path, protocol: str
) -> None:
    with running(tmp_path / "broker", f"max_inflight_messages {WINDOW}", "max_queued_messages 0", "log_type error") as broker:
        # both sessions have the same backlog, and are served one after the other
        for client_id in ("plain", "router"):
            async with acknowledging_at_once(broker.url, protocol, client_id):
                pass
        await publish_all(broker, 2000)
        began = time.monotonic()
        async with acknowledging_at_once(broker.url, protocol, "plain") as client:
            received = 0
            async for _ in client.messages:
                received += 1
                if received == 2000:
                    break
        at_once = time.monotonic() - began
        began = time.monotonic()
        async with stored(tmp_path, broker.url, protocol) as status:
            await eventually(lambda: status.messages == 2000, PATIENCE)
        assert time.monotonic() - began <= 2 * at_once


@asynccontextmanager
async def acknowledging_at_once(url: str, protocol: str, client_id: str = "plain") -> AsyncIterator[aiomqtt.Client]:
    """Subscribe with a session that acknowledges before it has stored anything."""
    expiry = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    expiry.SessionExpiryInterval = 3600
    version: dict[str, Any] = (
        {"protocol": aiomqtt.ProtocolVersion.V5, "clean_start": False, "properties": expiry}
        if protocol == "5"
        else {"protocol": aiomqtt.ProtocolVersion.V311, "clean_session": False}
    )
    host, port = url.removeprefix("mqtt://").split(":")
    async with aiomqtt.Client(host, int(port), identifier=client_id, **version) as client:
        await client.subscribe("#", qos=1)
        yield client


async def publish_all(broker: Mosquitto, count: int) -> None:
    """Publish everything, then wait for all acknowledgements."""
    async with aiomqtt.Client("127.0.0.1", broker.port, max_inflight_messages=1000) as client, asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(client.publish("t", b"%d" % number, qos=1, timeout=PATIENCE))
