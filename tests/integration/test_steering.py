"""An operator pauses, resumes and drains a running router; nothing is lost, and nothing is sent that should wait.

Covers: edgerouter.steering, edgerouter.admin.api.steering, edgerouter.cli.steer.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from edgerouter.pipeline.pauses import FILE
from support.command import edgerouter, run
from support.http_service import http_service
from support.load import Plan, Report, load
from support.mosquitto import Mosquitto, running
from support.router import RouterProcess, router

BROKER = ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")


class Service:
    """A service that takes everything while it works, and keeps the numbers."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.works = True

    async def take(self, request: web.Request) -> web.Response:
        if not self.works:
            return web.Response(status=503)
        self.taken += [json.loads(line)["payload"]["n"] for line in (await request.read()).splitlines()]
        return web.Response()


class Site:
    """A broker, a router and the service behind it."""

    def __init__(self, broker: Mosquitto, process: RouterProcess, service: Service) -> None:
        self.broker = broker
        self.process = process
        self.service = service

    async def publish(self, messages: int) -> Report:
        """Publish to one topic, and wait for the broker's acknowledgements."""
        async with load(Plan(self.broker.port, messages=messages, topics=("sensors/a",))) as publisher:
            return await publisher.finish()

    async def command(self, *arguments: object, code: int = 0) -> str:
        """Run a command on the router's spool."""
        return await edgerouter(*arguments, "--spool", self.process.spool, code=code)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Yield a running router."""
    service = Service()
    with running(tmp_path / "broker", *BROKER) as broker:
        async with http_service(service.take) as url:
            config: dict[str, Any] = {
                "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"]}},
                "sinks": {"cloud": {"type": "http", "url": url, "retry": {"first_delay": "50ms", "max_delay": "50ms"}}},
            }
            async with router(tmp_path, config) as process:
                await process.start()
                yield Site(broker, process, service)


async def test_a_paused_sink_sends_nothing_through_a_restart_and_a_reload_and_everything_once_resumed(site: Site) -> None:
    process = site.process
    await site.publish(10)
    await process.until(lambda status: status["sinks"]["cloud"]["delivered"] == 10)
    assert "cloud is paused" in await site.command("pause", "cloud")
    assert "cloud was paused already" in await site.command("pause", "cloud")
    await site.publish(100)

    async def waits(status: dict[str, Any]) -> None:
        assert status["sinks"]["cloud"]["state"] == "paused"
        assert json.loads(await process.get("/flowz"))["paused"] == ["sink cloud"], "not a fault"
        assert len(site.service.taken) == 10

    await waits(await process.until(lambda status: status["sinks"]["cloud"]["pending"] == 100))
    config = process.config
    config["sinks"]["cloud"]["timeout"] = "7s"
    process.write(config)
    await process.until(lambda status: status["sinks"]["cloud"]["patience_seconds"] < 10)
    await waits(await process.until(lambda status: status["sinks"]["cloud"]["pending"] == 100))
    assert await process.stop() == 0
    await process.start()
    assert "starts paused" in process.tail()
    await waits(await process.until(lambda status: status["sinks"]["cloud"]["pending"] == 100))
    assert "paused" in await site.command("status")

    assert "cloud runs again" in await site.command("resume", "cloud")
    await process.until(lambda status: status["sinks"]["cloud"]["delivered"] == 110)
    assert sorted(site.service.taken[10:]) == list(range(1, 101))
    assert json.loads((process.spool / FILE).read_bytes()) == {"sinks": [], "sources": []}


async def test_a_paused_source_leaves_the_messages_to_the_broker(site: Site) -> None:
    process = site.process
    assert "local is paused" in await site.command("pause", "--source", "local")
    await site.publish(100)
    status = await process.status()
    assert (status["sources"]["local"]["reason"], status["sources"]["local"]["paused"]) == ("paused by an operator", True)
    assert json.loads(await process.get("/readyz")) == {"ready": True, "reasons": [], "paused": ["source local"]}
    assert status["spool"]["last_sequence"] == 0
    await process.kill()
    await process.start(connected=False)
    status = await process.until(lambda status: "local" in status["sources"])
    assert status["sources"]["local"]["paused"]
    await site.command("resume", "--source", "local")
    await process.until(lambda status: status["sinks"]["cloud"]["delivered"] == 100)
    assert site.service.taken == list(range(1, 101)), "the broker's session kept them"


async def test_a_drain_delivers_everything_and_ends_the_router(site: Site) -> None:
    """Also what a service that is down takes minutes later, with a grace that a stop would not give."""
    process = site.process
    site.service.works = False
    await site.publish(500)
    await process.until(lambda status: status["sinks"]["cloud"]["pending"] == 500)
    drain = asyncio.create_task(site.command("drain"))
    await process.until(lambda status: status["draining"])
    with pytest.raises(aiohttp.ClientError, match="503"):
        await process.get("/readyz")
    await site.publish(50)
    site.service.works = True
    assert "drained" in await drain
    assert await process.wait() == 0
    assert sorted(site.service.taken) == list(range(1, 501)), "none of those that came after the drain began"
    await process.start()
    await process.until(lambda status: status["sinks"]["cloud"]["delivered"] == 550)
    assert len(site.service.taken) == 550, "the broker kept them"


async def test_a_drain_that_runs_out_of_time_names_what_is_left_and_the_spool_keeps_it(site: Site) -> None:
    process = site.process
    await site.command("pause", "cloud")
    await site.publish(5)
    await process.until(lambda status: status["sinks"]["cloud"]["pending"] == 5)
    ended = await asyncio.to_thread(run, "drain", "--timeout", "100ms", "--spool", process.spool)
    assert (ended.returncode, "cloud: 5 messages left" in ended.stderr) == (1, True), ended
    assert await process.wait() == 0
    assert '"pending": 5' in await site.command("status", "--json")


async def test_a_signal_drains_as_the_command_does(site: Site) -> None:
    site.service.works = False
    await site.publish(20)
    await site.process.until(lambda status: status["sinks"]["cloud"]["pending"] == 20)
    site.process.send(signal.SIGUSR1)
    await site.process.until(lambda status: status["draining"])
    site.service.works = True
    assert await site.process.wait() == 0
    assert len(site.service.taken) == 20


async def test_a_stop_ends_a_drain_within_its_grace(site: Site) -> None:
    site.service.works = False
    await site.publish(20)
    await site.process.until(lambda status: status["sinks"]["cloud"]["pending"] == 20)
    drain = asyncio.create_task(site.command("drain", "--json", code=1))
    await site.process.until(lambda status: status["draining"])
    assert await site.process.stop() == 0
    assert json.loads(await drain)["left"] == {"cloud": 20}


async def test_requests_that_name_nothing_are_refused_with_what_there_is(site: Site) -> None:
    async def said(*arguments: object) -> str:
        ended = await asyncio.to_thread(run, *arguments, "--spool", site.process.spool)
        assert ended.returncode != 0
        return ended.stderr

    assert "'clout' is not a sink of this router; those are: cloud" in await said("pause", "clout")
    assert "'cloud' is not a source of this router; those are: local" in await said("resume", "--source", "cloud")
    assert "name a sink, or a source" in await said("pause")
    assert "name a sink, or a source" in await said("pause", "cloud", "--source", "local")
    assert "--timeout" in await said("drain", "--timeout", "soon")
    assert await site.process.stop() == 0
    assert "no router runs on" in await said("drain")
