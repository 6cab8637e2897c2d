"""The whole router on a real broker: every message that the broker acknowledged to the publisher reaches the files.

Covers: edgerouter.app, edgerouter.cli.run, edgerouter.spool.sqlite.open.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.arrivals import arrivals
from support.http_service import http_service
from support.load import Plan, load, topics
from support.mosquitto import Mosquitto, running
from support.promise import everything_came
from support.router import router

BROKER = ("max_queued_messages 0", "max_inflight_messages 1000", "autosave_interval 1", "log_type error")


def configuration(broker: Mosquitto, folder: Path, **sinks: dict[str, Any]) -> dict[str, Any]:
    """Configure a router with file sinks; `sinks` gives their further fields."""
    return {
        "sources": {"local": {"type": "mqtt", "url": f"mqtt://127.0.0.1:{broker.port}", "topics": ["sensors/#"]}},
        "sinks": {name: {"type": "file", "path": str(folder / name), **fields} for name, fields in sinks.items()},
        "shutdown": {"grace": "20s"},
    }


@pytest.mark.timeout(180)
async def test_every_message_is_in_the_right_files_exactly_once_in_an_undisturbed_run(tmp_path: Path) -> None:
    """100,000 QoS 1 messages on 50 topics, two file sinks with different filters; message ids without gaps."""
    some = {"sensors/003/value", "sensors/017/value"}
    with running(tmp_path / "broker", *BROKER) as broker:
        config = configuration(broker, tmp_path, everything={}, some={"topics": sorted(some)})
        async with router(tmp_path, config) as process:
            await process.start()
            async with load(Plan(port=broker.port, messages=100_000)) as publisher:
                report = await publisher.finish()
            assert report.acknowledged == 100_000
            status = await process.until(lambda status: status["sinks"]["everything"]["delivered"] == 100_000)
            await process.until_delivered()
            assert await process.stop() == 0
    everything, few = arrivals(tmp_path / "everything"), arrivals(tmp_path / "some")
    sent = report.acknowledged_numbers()
    assert (everything.missing_from(sent), everything.count) == ({}, 100_000)
    assert few.missing_from({topic: sent[topic] for topic in some}) == {}
    assert (few.count, set(few.numbers)) == (4_000, some)
    spool = status["spool"]["id"]
    assert set(everything.ids) == {f"{spool}-{n}" for n in range(1, 100_001)}


@pytest.mark.timeout(180)
async def test_a_broker_restart_under_load_loses_nothing_and_needs_no_hand(tmp_path: Path) -> None:
    with running(tmp_path / "broker", *BROKER) as broker:
        config = configuration(broker, tmp_path, everything={})
        config["sources"]["local"]["reconnect"] = {"first_delay": "100ms", "max_delay": "1s"}
        async with router(tmp_path, config) as process:
            await process.start()
            async with load(Plan(port=broker.port, rate=3000)) as publisher:
                for _ in range(3):
                    await publisher.at_least(publisher.acknowledged + 3000)
                    await asyncio.to_thread(broker.stop)
                    await asyncio.to_thread(broker.start)
                await publisher.at_least(publisher.acknowledged + 3000)
                report = await publisher.stop()
            assert report.connections >= 4
            await everything_came(broker.port, tmp_path / "everything")
            await process.until_delivered()
            assert await process.stop() == 0
    assert arrivals(tmp_path / "everything").missing_from(report.acknowledged_numbers()) == {}


@pytest.mark.timeout(120)
async def test_a_stop_drains_and_what_is_left_is_delivered_by_the_next_run(tmp_path: Path) -> None:
    with running(tmp_path / "broker", *BROKER) as broker:
        config = configuration(broker, tmp_path, slow={"rate": {"messages": 500}, "batch": {"max_messages": 100}})
        config["shutdown"] = {"grace": "200ms"}
        async with router(tmp_path, config) as process:
            await process.start()
            async with load(Plan(port=broker.port, messages=5_000)) as publisher:
                report = await publisher.finish()
            await process.until(lambda status: status["spool"]["last_sequence"] == 5_000)
            assert await process.stop() == 0
            config["sinks"]["slow"].pop("rate")
            process.write(config)
            await process.start()
            await process.until(lambda status: status["sinks"]["slow"]["delivered"] == 5_000)
            assert await process.stop() == 0
    found = arrivals(tmp_path / "slow")
    assert found.missing_from(report.acknowledged_numbers()) == {}


async def test_the_router_starts_with_the_broker_down_and_begins_when_it_answers(tmp_path: Path) -> None:
    with running(tmp_path / "broker", *BROKER) as broker:
        config = configuration(broker, tmp_path, everything={})
        config["sources"]["local"]["reconnect"] = {"first_delay": "50ms", "max_delay": "200ms"}
        broker.stop()
        async with router(tmp_path, config) as process:
            await process.start(connected=False)
            status = await process.until(lambda status: status["sources"]["local"]["reason"] not in ("", "starting"))
            assert not status["sources"]["local"]["connected"]
            assert await process.stop(10) == 0, "SIGTERM ends it although the broker is down"
            await process.start(connected=False)
            broker.start()
            await process.until(lambda status: status["sources"]["local"]["connected"])
            async with load(Plan(port=broker.port, messages=100, topics=topics(5))) as publisher:
                await publisher.finish()
            await process.until(lambda status: status["sinks"]["everything"]["delivered"] == 100)


@pytest.mark.timeout(180)
async def test_a_hanging_sink_changes_nothing_for_the_others_and_catches_up(tmp_path: Path) -> None:
    """The service accepts the connection and does not answer; later it does."""
    answering = asyncio.Event()
    taken = 0

    async def take(request: web.Request) -> web.Response:
        nonlocal taken
        body = await request.read()
        await answering.wait()
        taken += body.count(b"\n")
        return web.Response()

    with running(tmp_path / "broker", *BROKER) as broker:
        async with http_service(take) as url:
            config = configuration(broker, tmp_path, everything={})
            config["sinks"]["hung"] = {"type": "http", "url": url, "timeout": "2s", "retry": {"max_delay": "200ms"}}
            async with router(tmp_path, config) as process:
                await process.start()
                async with load(Plan(port=broker.port, messages=30_000)) as publisher:
                    report = await publisher.finish()
                status = await process.until(lambda status: status["sinks"]["everything"]["delivered"] == 30_000)
                assert status["sinks"]["hung"]["delivered"] == 0
                assert status["sinks"]["hung"]["pending"] == 30_000
                answering.set()
                await process.until(lambda status: status["sinks"]["hung"]["delivered"] == 30_000)
                assert await process.stop() == 0
    assert arrivals(tmp_path / "everything").missing_from(report.acknowledged_numbers()) == {}
    assert taken >= 30_000
