"""A changed configuration is applied as a diff while messages flow, and nothing is lost."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.load import Plan, load
from support.mosquitto import Mosquitto, running
from support.promise import ledgers_hold, nothing_is_missing, spool_is_sound
from support.router import RouterProcess, router

BROKER = ("max_queued_messages 0", "max_inflight_messages 500", "log_type error")


def configuration(broker: Mosquitto, tmp_path: Path) -> dict[str, Any]:
    return {
        "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"], "receive_maximum": 500}},
        "sinks": {
            "steady": {"type": "file", "path": str(tmp_path / "steady")},
            "changing": {"type": "file", "path": str(tmp_path / "changing"), "batch": {"max_messages": 100}},
        },
    }


def hang_up(process: RouterProcess) -> None:
    """Send SIGHUP."""
    os.kill(process.pid, signal.SIGHUP)


def has_sink(name: str, status: dict[str, Any]) -> bool:
    return name in status["sinks"]


@pytest.mark.timeout(120)
async def test_reloads_under_load_lose_nothing_and_leave_the_unchanged_alone(tmp_path: Path) -> None:
    with running(tmp_path / "broker", *BROKER) as broker:
        config = configuration(broker, tmp_path)
        async with router(tmp_path, config) as process:
            await process.start()
            async with load(Plan(broker.port, rate=3000)) as publisher:
                for n in range(1, 16):
                    await publisher.at_least(publisher.acknowledged + 500)
                    config["sinks"]["changing"]["batch"]["max_messages"] = 100 + n
                    config["sinks"][f"new{n}"] = {"type": "file", "path": str(tmp_path / f"new{n}")}
                    config["sinks"].pop(f"new{n - 3}", None)
                    process.write(config)
                    hang_up(process)
                    await process.until(partial(has_sink, f"new{n}"))
                report = await publisher.stop()
            status = await process.until(
                lambda status: all(
                    name in status["sinks"] and status["sinks"][name]["matched"] >= report.acknowledged
                    for name in ("steady", "changing")
                )
            )
            status = await process.until_delivered()
            ledgers_hold(status)
            assert sorted(status["spool"]["orphans"]) == sorted(f"new{n}" for n in range(1, 13))
            log = process.tail(1_000_000)
            assert await process.stop() == 0
    assert "steady" not in "".join(line for line in log.splitlines() if "configuration reloaded" in line)
    nothing_is_missing(tmp_path / "steady", report, repeats=0)
    nothing_is_missing(tmp_path / "changing", report, repeats=16 * 200)
    await spool_is_sound(process.spool)


@pytest.mark.timeout(60)
async def test_an_invalid_file_is_refused_with_line_and_column_and_the_old_one_stays(tmp_path: Path) -> None:
    with running(tmp_path / "broker", *BROKER) as broker:
        config = configuration(broker, tmp_path)
        async with router(tmp_path, config) as process:
            await process.start()
            process.file.write_text(process.file.read_text().replace("max_messages", "max_mesages"))
            status = await process.until(lambda status: status["configuration_error"])
            assert "edgerouter.yaml:" in status["configuration_error"]
            assert "max_messages" in status["configuration_error"], "the nearest valid name is said"
            async with load(Plan(broker.port, messages=100)) as publisher:
                await publisher.finish()
            await process.until(lambda status: status["sinks"]["changing"]["delivered"] == 100)
            process.write(config)
            await process.until(lambda status: not status["configuration_error"])


@pytest.mark.timeout(60)
async def test_changed_filters_are_counted_exactly(tmp_path: Path) -> None:
    """Pending messages are matched again with the sink's new filters, and the ledger always holds."""
    with running(tmp_path / "broker", *BROKER) as broker:
        config = configuration(broker, tmp_path)
        config["sinks"]["changing"] = {"type": "http", "url": "http://127.0.0.1:9/"}
        async with router(tmp_path, config) as process:
            await process.start()
            async with load(Plan(broker.port, messages=5000)) as publisher:
                await publisher.finish()
            await process.until(lambda status: status["sinks"]["changing"]["pending"] == 5000)
            config["sinks"]["changing"] = {"type": "file", "path": str(tmp_path / "changing"), "topics": ["sensors/007/value"]}
            process.write(config)
            hang_up(process)
            status = await process.until(lambda status: status["sinks"].get("changing", {}).get("delivered") == 100)
            ledgers_hold(status)
            assert status["sinks"]["changing"]["pending"] == 0
