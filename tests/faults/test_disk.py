"""A full and a read-only file system are states, not crashes: nothing acknowledged is lost, and the router recovers by itself."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.chaos import chaos
from support.http_service import http_service
from support.load import Plan, load
from support.mosquitto import Mosquitto, running
from support.promise import ledgers_hold, nothing_is_missing, spool_is_sound
from support.router import router

BROKER = ("max_queued_messages 0", "max_inflight_messages 200", "log_type error")
MIB = 1024 * 1024


@contextmanager
def small_file_system(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a separate file system of that size."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount; tests/unit/spool does the same through a faulting file layer")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"mode=0750,size={megabytes}m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode()}; tests/unit/spool does the same through a faulting file layer")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def configuration(broker: Mosquitto, tmp_path: Path, spool: Path, url: str, **spool_fields: Any) -> dict[str, Any]:
    return {
        "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"], "receive_maximum": 200}},
        "spool": {"path": str(spool), "min_free_bytes": 0, **spool_fields},
        "sinks": {
            "files": {"type": "file", "path": str(tmp_path / "files")},
            "away": {"type": "http", "url": url, "retry": {"first_delay": "10ms", "max_delay": "100ms"}},
        },
    }


async def take(request: web.Request) -> web.Response:
    await request.read()
    return web.Response()


@pytest.mark.timeout(120)
async def test_a_full_disk_stops_the_intake_and_nothing_else_until_there_is_room(tmp_path: Path) -> None:
    """Another program fills the disk (ENOSPC), then deletes its file."""
    with small_file_system(tmp_path / "disk", 24) as disk, running(tmp_path / "broker", *BROKER) as broker:
        async with http_service(take) as url, chaos(int(url.rsplit(":", 1)[1].strip("/"))) as proxy:
            proxy.refuse()
            config = configuration(broker, tmp_path, disk / "spool", f"http://127.0.0.1:{proxy.port}/")
            async with router(tmp_path, config) as process:
                await process.start()
                ballast = disk / "ballast"
                ballast.write_bytes(b"x" * (shutil.disk_usage(disk).free - 3 * MIB))
                async with load(Plan(broker.port, rate=4000, payload_bytes=1500, messages=30_000)) as publisher:
                    status = await process.until(lambda status: status["spool"]["state"] == "full")
                    assert status["spool"]["reason"]
                    ledgers_hold(status)
                    ballast.unlink()
                    proxy.heal()
                    report = await publisher.finish()
                await process.until(
                    lambda status: all(sink["delivered"] >= report.acknowledged for sink in status["sinks"].values()), 60
                )
                status = await process.until_delivered()
                ledgers_hold(status)
                assert status["spool"]["state"] == "ok"
                assert await process.stop() == 0
        nothing_is_missing(tmp_path / "files", report, repeats=500)
        await spool_is_sound(process.spool)


@pytest.mark.timeout(120)
async def test_the_spools_own_bound_blocks_and_a_sink_that_comes_back_makes_room(tmp_path: Path) -> None:
    with running(tmp_path / "broker", *BROKER) as broker:
        async with http_service(take) as url, chaos(int(url.rsplit(":", 1)[1].strip("/"))) as proxy:
            proxy.refuse()
            config = configuration(broker, tmp_path, tmp_path / "spool", f"http://127.0.0.1:{proxy.port}/", max_bytes="4MiB")
            async with router(tmp_path, config) as process:
                await process.start()
                async with load(Plan(broker.port, messages=40_000, payload_bytes=1500)) as publisher:
                    await process.until(lambda status: status["spool"]["state"] == "full")
                    assert (tmp_path / "spool" / "spool.db").stat().st_size < 8 * MIB
                    proxy.heal()
                    report = await publisher.finish()
                await process.until(
                    lambda status: all(sink["delivered"] >= report.acknowledged for sink in status["sinks"].values()), 60
                )
                status = await process.until_delivered()
                ledgers_hold(status)
                assert not status["drops"]
                assert await process.stop() == 0
    nothing_is_missing(tmp_path / "files", report, repeats=0)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("on_full", ["drop_oldest", "drop_newest"])
async def test_a_drop_policy_counts_every_loss_by_sink_topic_and_reason(tmp_path: Path, on_full: str) -> None:
    with running(tmp_path / "broker", *BROKER) as broker:
        config = configuration(broker, tmp_path, tmp_path / "spool", "http://127.0.0.1:9/", max_bytes="4MiB", on_full=on_full)
        async with router(tmp_path, config) as process:
            await process.start()
            async with load(Plan(broker.port, messages=40_000, payload_bytes=1500)) as publisher:
                report = await publisher.finish()
            status = await process.until(lambda status: sum(drop["messages"] for drop in status["drops"]) > 0)
            status = await process.until(
                lambda status: status["sinks"]["files"]["pending"] == 0 and status["sources"]["local"]["messages"] >= 40_000
            )
            ledgers_hold(status)
            assert all(drop["topic"] == "sensors" and drop["reason"] for drop in status["drops"])
            away = status["sinks"]["away"]
            lost = sum(drop["messages"] for drop in status["drops"] if drop["sink"] in ("away", ""))
            # may exceed the published ones: a broker that overruns its window is cut off and resends unacknowledged messages
            assert away["matched"] >= report.acknowledged
            assert away["dropped"] == lost > 0
            assert await process.stop() == 0


@pytest.mark.timeout(120)
async def test_a_sinks_disk_that_is_read_only_from_the_start_is_waited_for(tmp_path: Path) -> None:
    """A transient condition is not a configuration error: the router starts, receives, and delivers once the disk is writable."""
    with small_file_system(tmp_path / "disk", 64) as disk, running(tmp_path / "broker", *BROKER) as broker:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        config = configuration(broker, tmp_path, tmp_path / "spool", "http://127.0.0.1:9/")
        config["sinks"] = {"files": config["sinks"]["files"] | {"path": str(disk), "retry": {"max_delay": "200ms"}}}
        async with router(tmp_path, config) as process:
            await process.start()
            async with load(Plan(broker.port, messages=2000)) as publisher:
                report = await publisher.finish()
            status = await process.until(lambda status: status["sinks"]["files"]["pending"] >= report.acknowledged)
            assert "Read-only file system" in status["sinks"]["files"]["last_error"]
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            ledgers_hold(await process.until_delivered())
            assert await process.stop() == 0
        nothing_is_missing(disk, report, repeats=0)
