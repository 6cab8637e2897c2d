"""A router that is killed while it stores is sent everything again by its sources, and the stream holds each message once.

Covers: edgerouter_nats.spool.writer, edgerouter_nats.spool.earlier, tests/support/nats/holding_proxy.py.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.spool import JetStreamSpool
from support.mosquitto import Mosquitto, free_port, running
from support.mqtt_source import publish
from support.nats.cluster import NatsServer
from support.nats.holding_proxy import HoldingProxy
from support.nats.sharing import settings
from support.nats.spools import opened
from support.router import router

STREAM = "AGAIN"
noise = random.Random(1).randbytes
MESSAGES = [b"%d %s" % (number, noise(10_000)) for number in range(30)]
"""Several chunks on a server that takes 64 KB at once."""


class Sender(ABC):
    """Sends messages to a router, and sends again what is not acknowledged."""

    @property
    @abstractmethod
    def source(self) -> dict[str, Any]:
        """The router's source."""

    @abstractmethod
    async def send(self, *payloads: bytes) -> None:
        """Return when the sender's broker has them."""

    @abstractmethod
    async def acknowledged(self) -> None:
        """Return when everything is acknowledged."""


class Broker(Sender):
    """A broker with a session of the router."""

    def __init__(self, broker: Mosquitto, qos: int) -> None:
        self._broker, self._qos = broker, qos

    @property
    def source(self) -> dict[str, Any]:
        return {"type": "mqtt", "url": self._broker.url, "topics": ["#"], "client_id": "box"}

    async def send(self, *payloads: bytes) -> None:
        await publish(self._broker, "a/b", *payloads, qos=self._qos)

    async def acknowledged(self) -> None:
        """Do nothing: a broker sends again before anything that is new."""


class Stream(Sender):
    """A stream with a durable consumer."""

    def __init__(self, client: Client, url: str) -> None:
        self._context, self._url = client.jetstream(), url

    @property
    def source(self) -> dict[str, Any]:
        return {"type": "nats-jetstream", "servers": [self._url], "stream": "PLANT", "durable": "box", "ack_wait": "1s"}

    async def send(self, *payloads: bytes) -> None:
        for payload in payloads:
            await self._context.publish("plant.a", payload)

    async def acknowledged(self) -> None:
        while (info := await self._context.consumer_info("PLANT", "box")).num_ack_pending or info.num_pending:
            await asyncio.sleep(0.05)


@pytest.fixture
def narrow(store: Path, tmp_path: Path) -> Iterator[NatsServer]:
    """A server whose messages are so small that deliveries are several chunks."""
    with NatsServer(store / tmp_path.name, ["max_payload: 64KB"]) as server:
        yield server


@asynccontextmanager
async def sending(kind: str, folder: Path, narrow: NatsServer) -> AsyncIterator[Sender]:
    """Run what sends."""
    if kind == "stream":
        client = Client()
        await client.connect(narrow.url)
        try:
            await client.jetstream().add_stream(name="PLANT", subjects=["plant.>"])
            yield Stream(client, narrow.url)
        finally:
            await client.close()
        return
    with running(folder / "broker", "max_queued_messages 0", "max_inflight_messages 1000") as broker:
        yield Broker(broker, int(kind))


async def stored(reader: JetStreamSpool) -> Counter[bytes]:
    """Count what the spool's stream holds, by the beginning of the payloads."""
    last = (await reader.engine.api.state(STREAM)).last
    chunks = [chunk async for chunk in reader.chunks(1024, 1024 * (last + 1))]
    return Counter(message.payload.partition(b" ")[0] for chunk in chunks for message in chunk.messages)


async def until_stored(reader: JetStreamSpool, *names: bytes) -> None:
    """Wait until the stream holds messages with these beginnings."""
    while set(names) - set(await stored(reader)):
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("moment", ["between two chunks", "before the answer"])
@pytest.mark.parametrize("kind", ["1", "2", "stream"])
async def test_what_a_killed_router_is_sent_again_is_stored_once(
    narrow: NatsServer, tmp_path: Path, kind: str, moment: str
) -> None:
    subject = Names(STREAM).subject("box")
    # what comes within the interval is one delivery of several chunks, or its first message and the rest
    gathering = {"stream": STREAM, "commit_interval": 1}
    async with HoldingProxy(narrow.port).running() as proxy, sending(kind, tmp_path, narrow) as sender:
        config = {
            "sources": {"in": sender.source},
            # it keeps everything in the stream
            "sinks": {"away": {"type": "http", "url": f"http://127.0.0.1:{free_port()}"}},
            "spool": {"type": "jetstream", **settings(narrow, tmp_path, "box", **gathering, servers=[proxy.url])},
        }
        async with router(tmp_path, config) as process, opened([narrow.url], STREAM, "reader", max_bytes=8 * 1024**2) as reader:
            await process.start()
            await sender.send(b"begin")
            await until_stored(reader, b"begin")
            if moment == "between two chunks":
                proxy.hold(subject, after=2)
            else:
                proxy.lose_answers(subject)
            await sender.send(*MESSAGES)
            while not (proxy.held or proxy.lost):
                await asyncio.sleep(0.01)
            await process.kill()
            proxy.let_new_pass()
            await process.start()
            await sender.send(b"end")
            await until_stored(reader, b"end", *(payload.partition(b" ")[0] for payload in MESSAGES))
            await sender.acknowledged()
            # what the killed one had on its way arrives now
            await proxy.release()
            assert await stored(reader) == Counter([b"begin", *(b"%d" % number for number in range(30)), b"end"])
