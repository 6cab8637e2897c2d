"""The broker disappears and returns in every way: no message is lost, and the router recovers without intervention."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from support.chaos import chaos
from support.load import Plan, load
from support.mosquitto import running
from support.promise import everything_came, ledgers_hold, nothing_is_missing, spool_is_sound
from support.router import router

BROKER = ("max_queued_messages 0", "max_inflight_messages 500", "log_type error")
RESTARTS = int(os.environ.get("EDGEROUTER_TEST_RESTARTS", "30"))


def configuration(url: str, folder: Path) -> dict[str, Any]:
    return {
        "sources": {
            "local": {
                "type": "mqtt",
                "url": url,
                "topics": ["sensors/#"],
                "receive_maximum": 500,
                "keepalive": 2,
                "reconnect": {"first_delay": "20ms", "max_delay": "100ms"},
            }
        },
        "sinks": {"files": {"type": "file", "path": str(folder / "files")}},
    }


@pytest.mark.timeout(120 + 3 * RESTARTS)
async def test_broker_restarts_again_and_again_lose_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "broker", *BROKER) as broker:
        async with router(tmp_path, configuration(broker.url, tmp_path)) as process:
            await process.start()
            async with load(Plan(broker.port, rate=1000)) as publisher:
                for _ in range(RESTARTS):
                    await asyncio.to_thread(broker.stop)
                    await asyncio.to_thread(broker.start)
                    await publisher.at_least(publisher.acknowledged + 50)
                report = await publisher.stop()
            await process.until(lambda status: status["sources"]["local"]["connected"])
            await everything_came(broker.port, tmp_path / "files")
            ledgers_hold(await process.until_delivered())
            assert await process.stop() == 0
    assert report.connections > RESTARTS / 2
    nothing_is_missing(tmp_path, report, repeats=0)
    await spool_is_sound(process.spool)


@pytest.mark.timeout(120)
async def test_cut_and_half_open_connections_are_noticed_and_lose_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "broker", *BROKER) as broker:
        async with (
            chaos(broker.port) as proxy,
            router(tmp_path, configuration(f"mqtt://127.0.0.1:{proxy.port}", tmp_path)) as process,
        ):
            await process.start()
            async with load(Plan(broker.port, rate=1500)) as publisher:
                for _ in range(20):
                    proxy.cut()
                    await publisher.at_least(publisher.acknowledged + 100)
                proxy.black_hole()
                # half-open: the session is given up within three keep-alives, and readiness reports it
                await process.until(lambda status: not status["sources"]["local"]["connected"], 3 * 2 + 2)
                proxy.heal()
                await process.until(lambda status: status["sources"]["local"]["connected"], 10)
                await publisher.at_least(publisher.acknowledged + 1000)
                report = await publisher.stop()
            await everything_came(broker.port, tmp_path / "files")
            ledgers_hold(await process.until_delivered())
            assert await process.stop() == 0
    nothing_is_missing(tmp_path, report, repeats=0)


@pytest.mark.timeout(120)
async def test_a_slow_link_to_the_broker_keeps_its_session(tmp_path: Path) -> None:
    with running(tmp_path / "broker", *BROKER) as broker:
        async with (
            chaos(broker.port) as proxy,
            router(tmp_path, configuration(f"mqtt://127.0.0.1:{proxy.port}", tmp_path)) as process,
        ):
            await process.start()
            connections = proxy.connections
            proxy.delay = 0.3
            async with load(Plan(broker.port, messages=3000, rate=1000)) as publisher:
                report = await publisher.finish()
            await process.until(lambda status: status["sinks"]["files"]["delivered"] >= report.acknowledged)
            assert proxy.connections == connections
    nothing_is_missing(tmp_path, report, repeats=0)


@pytest.mark.timeout(120)
async def test_a_kill_while_the_broker_is_away_and_a_later_broker_still_lose_nothing(tmp_path: Path) -> None:
    kills = 10
    with running(tmp_path / "broker", *BROKER) as broker:
        config = configuration(broker.url, tmp_path)
        config["sinks"]["files"]["batch"] = {"max_messages": 500}
        async with router(tmp_path, config) as process:
            await process.start()
            async with load(Plan(broker.port, messages=5000, rate=1500)) as publisher:
                report = await publisher.finish()
            await asyncio.to_thread(broker.stop)
            for _ in range(kills):
                await process.kill()
                await process.start(connected=False)
            await asyncio.to_thread(broker.start)
            await process.until(lambda status: status["sources"]["local"]["connected"])
            await everything_came(broker.port, tmp_path / "files")
            ledgers_hold(await process.until_delivered())
    # each kill may repeat a batch if the file was still being written
    assert nothing_is_missing(tmp_path, report, repeats=kills * 500).stored_again == 0
