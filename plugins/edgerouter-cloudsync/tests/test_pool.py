"""Connections are shared, closed when unused, and bounded in number."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from edgerouter import Unavailable
from edgerouter.mqtt import BrokerSettings, Policy, Publisher
from edgerouter_cloudsync.pool import Pool
from support.mosquitto import Mosquitto, free_port
from support.mqtt_source import eventually


def publisher(broker: str, settings: BrokerSettings) -> Publisher:
    return Publisher(settings, Policy(f"test-{broker}", 1, 10, retains=False), "5", broker)


async def test_a_connection_is_used_again_and_closed_once_it_is_unused(broker: Mosquitto) -> None:
    settings = BrokerSettings(url=broker.url)
    closed: list[str] = []
    pool = Pool(publisher, closed.append, idle=0.2, most=10)
    closing = asyncio.create_task(pool.run(lambda: None))
    async with pool.link("a", settings) as first, pool.link("a", settings) as second:
        assert first is second
        await asyncio.sleep(0.3)
        assert closed == [], "closed while it was in use"
    await eventually(lambda: closed == ["a"] and first.lost is not None)
    assert len(pool) == 0
    async with pool.link("a", settings) as third:
        assert third is not first
    closing.cancel()
    await pool.close()


async def test_the_connection_unused_for_longest_makes_room_and_one_in_use_does_not(broker: Mosquitto) -> None:
    settings = BrokerSettings(url=broker.url)
    closed: list[str] = []
    pool = Pool(publisher, closed.append, idle=60, most=2)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        async with pool.link("a", settings) as first:
            pass
        async with pool.link("b", settings), pool.link("c", settings):
            assert first.lost is not None
            assert closed == ["a"]
            with pytest.raises(Unavailable, match="max_connections"):
                async with pool.link("d", settings):
                    pass


async def test_a_broker_that_is_not_there_is_unavailable_and_asked_again() -> None:
    pool = Pool(publisher, lambda _: None, idle=60, most=2)
    settings = BrokerSettings(url=f"mqtt://127.0.0.1:{free_port()}")
    for _ in range(2):
        with pytest.raises(Unavailable):
            async with pool.link("a", settings):
                pass
    await pool.close()
