"""A broker with a long backlog sends faster than it reads: stored messages are not stored again under a new id."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.load import Plan, Report, load
from support.mosquitto import running
from support.promise import everything_came, nothing_is_missing, spool_is_sound
from support.router import RouterProcess, router

BACKLOG = 30_000
BROKER = ("max_queued_messages 0", "log_type error")

both_protocols = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


@asynccontextmanager
async def a_backlog(
    tmp_path: Path, protocol: str, messages: int = BACKLOG, **source: Any
) -> AsyncIterator[tuple[RouterProcess, Report, int]]:
    """Start a router that has stored a third of the broker's backlog; yield it with the load's report and the broker's port."""
    with running(tmp_path / "broker", *BROKER) as broker:
        config = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"], "protocol": protocol} | source},
            "sinks": {"files": {"type": "file", "path": str(tmp_path / "files")}},
        }
        async with router(tmp_path, config) as process:
            await process.start()
            assert await process.stop() == 0
            async with load(Plan(broker.port, messages=messages)) as publisher:
                report = await publisher.finish()
            await process.start()
            await process.until(lambda status: status["sources"]["local"]["messages"] >= messages // 3)
            yield process, report, broker.port


async def the_rest_comes(tmp_path: Path, process: RouterProcess, report: Report, port: int) -> int:
    """Wait until everything has arrived; return the number of messages stored twice, under a new id."""
    await everything_came(port, tmp_path / "files")
    await process.until_delivered()
    assert await process.stop() == 0
    found = nothing_is_missing(tmp_path / "files", report, repeats=BACKLOG)
    await spool_is_sound(process.spool)
    return found.stored_again


@both_protocols
async def test_a_stop_with_a_backlog_at_the_broker_stores_nothing_twice(tmp_path: Path, protocol: str) -> None:
    """The broker reads every acknowledgement before the connection ends, although most of its data is still unread."""
    async with a_backlog(tmp_path, protocol) as (process, report, port):
        assert await process.stop() == 0
        await process.start()
        assert await the_rest_comes(tmp_path, process, report, port) == 0


@both_protocols
async def test_a_reload_with_a_backlog_at_the_broker_stores_nothing_twice(tmp_path: Path, protocol: str) -> None:
    """The replaced source closes its connection as at a stop."""
    async with a_backlog(tmp_path, protocol) as (process, report, port):
        process.config["sources"]["local"]["keepalive"] = 59
        process.write(process.config)
        os.kill(process.pid, signal.SIGHUP)
        assert await the_rest_comes(tmp_path, process, report, port) == 0
        assert "configuration reloaded" in process.log.read_text()


@both_protocols
async def test_a_kill_with_a_backlog_at_the_broker_stores_nothing_twice(tmp_path: Path, protocol: str) -> None:
    """Messages whose acknowledgements the broker has not read are recognised when they arrive again."""
    async with a_backlog(tmp_path, protocol) as (process, report, port):
        await process.kill()
        await process.start()
        assert await the_rest_comes(tmp_path, process, report, port) == 0


@both_protocols
async def test_a_kill_that_costs_the_receipts_too_stores_at_most_the_bound_twice(tmp_path: Path, protocol: str) -> None:
    """The source accepts at most `max_unconfirmed` messages beyond the fence, so no more than that can be unrecognisable."""
    most = 2_000
    async with a_backlog(tmp_path, protocol, max_unconfirmed=most) as (process, report, port):
        await process.kill()
        (session,) = process.spool.rglob("session.json")
        session.unlink()
        await process.start()
        assert await the_rest_comes(tmp_path, process, report, port) <= most


@both_protocols
async def test_a_broker_that_overruns_its_window_by_more_than_is_read_ahead_is_served_without_a_pause(
    tmp_path: Path, protocol: str
) -> None:
    """The source skips the back-off, receives nothing twice, and counts as connected throughout."""
    narrow = {"max_unconfirmed": 1_000, "max_unacknowledged_bytes": "1MiB"}
    async with a_backlog(tmp_path, protocol, 20_000, **narrow) as (process, report, port):
        assert await the_rest_comes(tmp_path, process, report, port) == 0
        said = process.log.read_text()
    assert said.count("sends much more than it should before it reads") == 1, "this broker keeps to its window, or it is said often"
    assert "not connected" not in said
