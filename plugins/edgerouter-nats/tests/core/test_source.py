"""Core NATS is received within a bound: what comes beyond it is dropped and counted, and nothing else is lost.

Covers also: edgerouter_nats.incoming.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from edgerouter import SourceContext, Unauthorized, Unavailable
from edgerouter_nats.core.source import NatsSource, NatsSourceConfig
from support.nats.cluster import NatsServer


def context(dropped: list[tuple[str, int, str]], connected: asyncio.Event) -> SourceContext:
    return SourceContext(
        name="in",
        host="edge-1",
        spool="5p00l",
        flush_now=lambda: None,
        dropped=lambda topic, messages, reason: dropped.append((topic, messages, reason)),
        connected=lambda yes, _: connected.set() if yes else None,
    )


def configured(server: NatsServer, **fields: Any) -> NatsSourceConfig:
    return NatsSourceConfig.model_validate({"servers": [server.url], "subjects": ["flood.>"], **fields})


async def test_messages_that_come_faster_than_they_are_stored_are_dropped_and_counted(nats: NatsServer) -> None:
    dropped: list[tuple[str, int, str]] = []
    connected = asyncio.Event()
    client = Client()
    await client.connect(nats.url)
    async with NatsSource.open(configured(nats, max_unacknowledged=100), context(dropped, connected)) as source:
        deliveries = source.deliveries()
        first = asyncio.ensure_future(anext(deliveries))
        await connected.wait()
        for number in range(5000):
            await client.publish("flood.a", str(number).encode())
        await client.flush()
        delivery = await first
        kept = len(delivery.messages)
        async with asyncio.timeout(10):
            while kept + sum(count for _, count, _ in dropped) < 5000:
                # not acknowledged, so the bound holds
                if kept < 100:
                    kept += len((await anext(deliveries)).messages)
                await asyncio.sleep(0.01)
    assert kept == 100
    assert {topic for topic, _, _ in dropped} == {"flood/a"}
    await client.close()


async def test_routers_in_one_queue_group_share_the_messages(nats: NatsServer) -> None:
    client = Client()
    await client.connect(nats.url)
    got: list[list[bytes]] = [[], []]
    config = configured(nats, subjects=["group.a"], queue="routers")
    events = [asyncio.Event(), asyncio.Event()]

    async def run(number: int) -> None:
        async with NatsSource.open(config, context([], events[number])) as source:
            async for delivery in source.deliveries():
                got[number] += [message.payload for message in delivery.messages]
                delivery.acknowledge()

    tasks = [asyncio.create_task(run(number), name=f"router {number}") for number in range(2)]
    await asyncio.gather(*(event.wait() for event in events))
    for number in range(200):
        await client.publish("group.a", str(number).encode())
    async with asyncio.timeout(10):
        while sum(map(len, got)) < 200:
            await asyncio.sleep(0.01)
    assert sorted(got[0] + got[1]) == sorted(str(number).encode() for number in range(200))
    assert got[0]
    assert got[1]
    for task in tasks:
        task.cancel()
    await client.close()


async def test_a_subscription_that_is_refused_ends_the_deliveries_with_the_subject(tmp_path: Path) -> None:
    users = 'authorization { users: [ { user: box, password: p, permissions: { subscribe: ["_INBOX.>"] } } ] }'
    with NatsServer(tmp_path, [users], jetstream=None) as server:
        config = configured(server, username="box", password="p")
        async with NatsSource.open(config, context([], asyncio.Event())) as source:
            with pytest.raises(Unauthorized, match=r"flood\.>"):
                await anext(source.deliveries())


async def test_a_server_that_goes_away_ends_the_deliveries(server: NatsServer) -> None:
    connected = asyncio.Event()
    async with NatsSource.open(configured(server), context([], connected)) as source:
        waiting = asyncio.ensure_future(anext(source.deliveries()))
        await connected.wait()
        server.kill()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(waiting, 5)
