"""A router that is drained leaves its shards to the others at once, and delivers what none of them has."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from support.command import edgerouter
from support.mosquitto import free_port
from support.nats.cluster import NatsServer
from support.nats.sharing import settings
from support.receiving import written
from support.router import router


def configured(nats: NatsServer, folder: Path, name: str, port: int, *sinks: str) -> dict[str, Any]:
    """Return the configuration of a router that receives over HTTP."""
    (folder / name).mkdir()
    topics = {"shared": "all/#", "zone": "zone/#"}
    return {
        "sources": {"web": {"type": "http", "listen": f"127.0.0.1:{port}", "topics": ["#"]}},
        "sinks": {sink: {"type": "file", "path": str(folder / name / sink), "topics": [topics[sink]]} for sink in sinks},
        "spool": {"type": "jetstream", **settings(nats, folder, name, stream="DRAIN", shards=4, lease=60)},
    }


async def post(client: aiohttp.ClientSession, port: int, topic: str, number: int) -> None:
    """Send one message, and return once it is acknowledged."""
    async with client.post(f"http://127.0.0.1:{port}/topics/{topic}", data=b"%d" % number) as answer:
        assert answer.status == 202, await answer.text()


async def feed(client: aiohttp.ClientSession, port: int, sent: list[int], enough: asyncio.Event) -> None:
    """Send messages of ten topics."""
    for number in range(100_000):
        if enough.is_set():
            return
        await post(client, port, f"all%2F{number % 10}", number)
        sent.append(number)
        await asyncio.sleep(0.005)


async def test_a_router_is_drained_while_another_goes_on_receiving_and_takes_over_at_once(nats: NatsServer, tmp_path: Path) -> None:
    """Its lease would last a minute; the sink that it alone has gets everything before it ends."""
    ports = [free_port(), free_port()]
    async with (
        router(tmp_path / "one", configured(nats, tmp_path, "one", ports[0], "shared", "zone")) as one,
        router(tmp_path / "two", configured(nats, tmp_path, "two", ports[1], "shared")) as two,
        aiohttp.ClientSession() as client,
    ):
        await one.start()
        await two.start()
        await two.until(lambda status: status["spool"]["shared"]["routers"] == {"one": 6, "two": 2})
        sent: list[int] = []
        enough = asyncio.Event()
        feeding = asyncio.create_task(feed(client, ports[1], sent, enough), name="feed")
        for number in range(20):
            await post(client, ports[0], f"zone%2F{number}", number)
        async with asyncio.timeout(30):
            assert "drained" in await edgerouter("drain", "--spool", one.spool)
            assert await one.wait() == 0
        await two.until(lambda status: status["spool"]["shared"]["routers"] == {"two": 4})
        enough.set()
        await feeding
        await two.until_delivered()
    archives = [each.payload for name in ("one", "two") for each in written(tmp_path / name / "shared")]
    assert Counter(archives) == Counter(b"%d" % number for number in sent)
    assert Counter(each.payload for each in written(tmp_path / "one" / "zone")) == Counter(b"%d" % number for number in range(20))
