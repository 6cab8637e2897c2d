"""The volatile spool: a message is acknowledged once every sink has settled it, so the broker keeps what a crash would lose.

Covers: edgerouter.config.checks.batches, edgerouter.spool.identity.
"""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from support.arrivals import arrivals
from support.command import run
from support.http_service import http_service
from support.load import Plan, load
from support.mosquitto import free_port, running
from support.router import router

BROKER = ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")


def volatile(url: str, folder: Path, **spool: str) -> dict[str, Any]:
    """Build a configuration with one file sink."""
    return {
        "sources": {"local": {"type": "mqtt", "url": url, "topics": ["sensors/#"]}},
        "spool": {"type": "memory"} | spool,
        "sinks": {"files": {"type": "file", "path": str(folder / "files")}},
    }


async def test_a_kill_of_a_router_with_a_volatile_spool_loses_nothing_either(tmp_path: Path) -> None:
    answering = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        await request.read()
        await answering.wait()
        return web.Response()

    with running(tmp_path / "broker", *BROKER) as broker:
        async with http_service(take) as url:
            config = {
                "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"], "client_id": "volatile"}},
                "spool": {"type": "memory", "max_messages": 2000, "max_bytes": "16MiB"},
                "sinks": {
                    "files": {"type": "file", "path": str(tmp_path / "files")},
                    "slow": {"type": "http", "url": url, "timeout": "5s", "batch": {"max_messages": 5000, "linger": "10ms"}},
                },
                "shutdown": {"grace": "1s"},
            }
            async with router(tmp_path, config) as process:
                await process.start()
                assert "batches cannot fill" in process.tail()
                async with load(Plan(broker.port, messages=10_000)) as publisher:
                    report = await publisher.finish()
                # one sink settles nothing, so nothing is acknowledged and the spool fills
                status = await process.until(lambda status: status["sinks"]["files"]["delivered"] >= 1000)
                assert status["sinks"]["slow"]["pending"] >= 1000
                await process.kill()
                answering.set()
                await process.start()
                await process.until(lambda status: status["sinks"]["slow"]["delivered"] >= 9000)
                await process.until_delivered()
                assert await process.stop() == 0
    found = arrivals(tmp_path / "files")
    assert found.missing_from(report.acknowledged_numbers()) == {}
    assert found.duplicates > 0, "what was not settled everywhere came again"


async def command(*arguments: object) -> tuple[int | None, str]:
    """Return exit code and output of the command line."""
    ended = await asyncio.to_thread(run, *arguments)
    return ended.returncode, ended.stdout + ended.stderr


async def test_the_commands_find_a_router_with_a_volatile_spool(tmp_path: Path) -> None:
    """Its folder holds the control socket, and is not mistaken for a durable spool."""
    with running(tmp_path / "broker", *BROKER) as broker:
        async with router(tmp_path, volatile(broker.url, tmp_path)) as process:
            await process.start()
            code, said = await command("status", "--ready", "--spool", process.spool)
            assert (code, "files" in said) == (0, True), said
            assert (await command("verify", "--spool", process.spool))[0] == 0
            assert (await command("dead-letters", "list", "-c", process.file))[0] == 0
            assert await process.stop() == 0
            code, said = await command("verify", "-c", process.file)
            assert (code, "no router runs" in said) == (1, True), said
            code, said = await command("verify", "--spool", process.spool)
            assert (code, "there is no spool" in said) == (2, True), said
            assert not list(process.spool.glob("*.db"))


async def test_a_volatile_spool_whose_folder_cannot_be_made_goes_on_without_a_control_socket(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path / "broker", *BROKER) as broker:
        config = volatile(broker.url, tmp_path, path="/proc/nowhere") | {"admin": {"listen": f"127.0.0.1:{port}"}}
        async with router(tmp_path, config) as process:
            process.tcp = port
            await process.start()
            assert "there is no control socket" in process.tail()
            assert await process.stop() == 0


async def test_a_volatile_spool_finds_its_session_again_without_a_client_id(tmp_path: Path) -> None:
    """Messages that reached the broker while the router was away arrive at the next start, although the spool has a new id."""
    with running(tmp_path / "broker", *BROKER) as broker:
        async with router(tmp_path, volatile(broker.url, tmp_path)) as process:
            await process.start()
            first = await process.until(lambda status: status["sources"]["local"]["connected"])
            assert await process.stop() == 0
            async with load(Plan(broker.port, messages=500)) as publisher:
                report = await publisher.finish()
            await process.start()
            status = await process.until(lambda status: status["sinks"]["files"]["delivered"] == 500)
            assert status["spool"]["id"] != first["spool"]["id"], "numbers begin anew, so ids must not"
            assert await process.stop() == 0
    assert arrivals(tmp_path / "files").missing_from(report.acknowledged_numbers()) == {}
