"""Dead letters, replay, forget and verify work the same on a running router and on a stopped one.

Covers: edgerouter.cli.commands, edgerouter.cli.dead_letters.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from edgerouter.spool.folder import locked_folder
from support.command import edgerouter
from support.http_service import http_service
from support.load import Plan, load
from support.mosquitto import Mosquitto, running
from support.router import RouterProcess, router

BROKER = ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")


Run = tuple[RouterProcess, "Picky"]


class Picky:
    """A service that refuses messages that contain one of `refused`, and keeps the rest."""

    def __init__(self) -> None:
        self.refused = {7, 11}
        self.taken: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        numbers = [json.loads(line)["payload"]["n"] for line in (await request.read()).splitlines()]
        if self.refused & set(numbers):
            return web.Response(status=422, text="not in my schema")
        self.taken += numbers
        return web.Response()


def configuration(broker: Mosquitto, url: str, tmp_path: Path) -> dict[str, Any]:
    return {
        "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"]}},
        "spool": {"path": str(tmp_path / "spool"), "retain": {"age": "1h", "bytes": "100MiB"}},
        "sinks": {"picky": {"type": "http", "url": url}},
    }


@pytest.fixture
async def after_a_run(tmp_path: Path) -> AsyncIterator[Run]:
    """Yield a running router that has dead-lettered two of 100 messages."""
    picky = Picky()
    with running(tmp_path / "broker", *BROKER) as broker:
        async with http_service(picky.take) as url, router(tmp_path, configuration(broker, url, tmp_path)) as process:
            await process.start()
            async with load(Plan(broker.port, messages=100, topics=("sensors/a",))) as publisher:
                await publisher.finish()
            await process.until(lambda status: status["spool"]["last_sequence"] == 100)
            await process.until_delivered()
            yield process, picky


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
async def test_dead_letters_are_listed_shown_exported_and_purged(after_a_run: Run, stopped: bool) -> None:
    process, _ = after_a_run
    if stopped:
        assert await process.stop() == 0
    config = ("-c", process.file)
    listed = json.loads(await edgerouter("dead-letters", "list", *config, "--json"))
    assert listed["total"] == 2
    letters = listed["dead_letters"]
    assert sorted(letter["message"]["payload"]["n"] for letter in letters) == [7, 11]
    assert all(letter["error"] == "Rejected" and "422" in letter["reason"] for letter in letters)
    assert all(letter["sink"] == "picky" and letter["attempts"] >= 1 and letter["config_digest"] for letter in letters)
    number = letters[0]["number"]
    assert json.loads(await edgerouter("dead-letters", "show", number, *config)) == letters[0]
    assert [json.loads(line) for line in (await edgerouter("dead-letters", "export", *config)).splitlines()] == letters
    assert "0 of 0" in await edgerouter("dead-letters", "list", *config, "--topic", "other/#")
    assert "0 of 0" in await edgerouter("dead-letters", "list", *config, "--to", "1h")
    await edgerouter("dead-letters", "show", 999, *config, code=1)
    assert "1 dead letter thrown away" in await edgerouter("dead-letters", "purge", "--yes", number, *config)
    assert "1 of 1" in await edgerouter("dead-letters", "list", *config)
    assert json.loads(await edgerouter("dead-letters", "purge", "--yes", "--json", *config)) == {"messages": 1}
    assert "0 damaged" in await edgerouter("verify", *config)


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
async def test_dead_letters_are_sent_again_once_the_service_takes_them(after_a_run: Run, stopped: bool) -> None:
    process, picky = after_a_run
    picky.refused = set()
    if stopped:
        assert await process.stop() == 0
    await edgerouter("dead-letters", "replay", "-c", process.file, "--topic", "a/#/b", code=2)
    assert "2 messages will be sent again" in await edgerouter("dead-letters", "replay", "-c", process.file)
    if stopped:
        await process.start()
    status = await process.until(lambda status: status["sinks"]["picky"]["delivered"] == 100)
    assert sorted(picky.taken) == list(range(1, 101))
    assert (status["sinks"]["picky"]["dead_lettered"], status["sinks"]["picky"]["pending"]) == (0, 0)


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
async def test_retained_messages_are_delivered_again_on_request(after_a_run: Run, stopped: bool) -> None:
    process, picky = after_a_run
    if stopped:
        assert await process.stop() == 0
    config = ("-c", process.file, "--sink", "picky")
    before = len(picky.taken)
    picky.refused = set()
    assert "100 messages would be delivered again" in await edgerouter("replay", *config, "--dry-run", "--topic", "sensors/a")
    assert "0 messages would" in await edgerouter("replay", *config, "--dry-run", "--to", "1h")
    assert json.loads(await edgerouter("replay", *config, "--dry-run", "--json")) == {"messages": 100, "dry_run": True}
    await edgerouter("replay", *config, "--topic", "a/#/b", code=2)
    assert len(picky.taken) == before
    await edgerouter("replay", *config, "--from", "1h")
    if stopped:
        await process.start()
    await process.until(lambda status: status["sinks"]["picky"]["delivered"] == 98 + 100)
    assert len(picky.taken) == before + 100


async def test_steps_are_tried_on_what_the_spool_holds_beside_a_running_router_and_on_a_stopped_one(after_a_run: Run) -> None:
    process, picky = after_a_run
    before = (await process.status())["sinks"]["picky"]
    spool, taken = before["pending"], list(picky.taken)
    config = process.config["sinks"]["picky"] | {"steps": [{"type": "filter", "fields": [{"field": "n", "above": 90}]}]}
    tried = process.folder / "tried.yaml"
    tried.write_text(json.dumps(process.config | {"sinks": {"picky": config}}))
    command = ("try", "-c", tried, "--sink", "picky", "--from-spool", "1h")
    for topic, limit, numbers in (("sensors/+", 95, range(91, 96)), ("#", 1000, range(91, 101)), ("other", 1000, range(0))):
        said = await edgerouter(*command, "--topic", topic, "--limit", limit)
        assert [json.loads(line)["payload"]["n"] for line in said.splitlines()] == list(numbers)
    assert (await process.status())["sinks"]["picky"]["pending"] == spool
    assert await process.stop() == 0
    assert len((await edgerouter(*command)).splitlines()) == 10
    assert picky.taken == taken
    await edgerouter(*command, "--topic", "a/#/b", code=2)


async def test_a_sink_that_left_the_configuration_is_reported_and_can_be_forgotten(after_a_run: Run) -> None:
    process, _ = after_a_run
    await edgerouter("forget", "picky", "-c", process.file, code=1)
    process.config["sinks"] = {"other": {"type": "file", "path": str(process.folder / "other")}}
    process.write(process.config)
    status = await process.until(lambda status: "other" in status["sinks"])
    assert status["spool"]["orphans"] == ["picky"]
    assert "picky" in await edgerouter("status", "-c", process.file)
    assert "picky is forgotten" in await edgerouter("forget", "picky", "-c", process.file)
    assert (await process.status())["spool"]["orphans"] == []


async def test_the_status_of_a_stopped_router_is_what_its_spool_says(after_a_run: Run) -> None:
    process, _ = after_a_run
    running = await process.status()
    assert await process.stop() == 0
    said = json.loads(await edgerouter("status", "--json", "-c", process.file))
    ledger: dict[str, Any] = {"matched": 100, "delivered": 98, "filtered": 0, "dead_lettered": 2, "dropped": 0, "pending": 0}
    ledger |= {"uncounted": 0, "ledger_error": ""}
    assert (said["running"], said["sinks"]) == (False, {"picky": ledger})
    assert said["spool"]["id"] == running["spool"]["id"]
    assert "no router runs" in await edgerouter("status", "-c", process.file)


async def test_a_health_check_never_opens_the_spool_and_says_no_while_no_router_runs(after_a_run: Run) -> None:
    """A router that starts at the same moment would find the spool in use and exit."""
    process, _ = after_a_run
    assert await process.stop() == 0
    with locked_folder(process.spool):
        await edgerouter("status", "--ready", "--spool", process.spool, code=1)
    await edgerouter("status", "--ready", "--spool", process.folder / "nowhere", code=1)


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
async def test_operators_need_neither_the_secrets_nor_the_plugins_of_the_configuration(after_a_run: Run, stopped: bool) -> None:
    process, _ = after_a_run
    if stopped:
        assert await process.stop() == 0
    file = process.folder / "elsewhere.yaml"
    sources = "sources: {local: {type: absent, password: '${env:NOT_SET}'}}"
    file.write_text(f"spool: {{path: {process.spool}}}\n{sources}\nsinks: {{picky: 5}}\n")
    for command in (("status",), ("dead-letters", "list"), ("replay", "--sink", "picky", "--dry-run"), ("verify",)):
        await edgerouter(*command, "-c", file)
    await edgerouter("top", "-c", file, "--seconds", 1, "--interval", 0.5, code=1 if stopped else 0)
    await edgerouter("forget", "picky", "-c", file, code=1)


async def test_a_configured_sink_of_a_stopped_router_is_not_forgotten(after_a_run: Run) -> None:
    """A stopped router's spool does not know the configured sinks; the command does."""
    process, _ = after_a_run
    assert await process.stop() == 0
    await edgerouter("forget", "picky", "-c", process.file, code=1)
    assert "picky" in json.loads(await edgerouter("status", "--json", "-c", process.file))["sinks"]
    answer = json.loads(await edgerouter("forget", "picky", "--json", "--spool", process.spool))
    assert answer == {"forgotten": "picky", "messages": 0}, "nothing but the answer is on standard output"


async def test_health_metrics_and_status_are_served_and_control_is_not_on_tcp(tmp_path: Path) -> None:
    import aiohttp

    from support.mosquitto import free_port

    port = free_port()
    with running(tmp_path / "broker", *BROKER) as broker:
        config = configuration(broker, "http://127.0.0.1:9/", tmp_path)
        config["admin"] = {"listen": f"127.0.0.1:{port}"}
        async with router(tmp_path, config) as process, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            await process.start()
            async with http.get("/livez") as answer:
                assert answer.status == 200
            async with http.get("/readyz") as answer:
                assert (answer.status, (await answer.json())["reasons"]) == (200, [])
            async with load(Plan(broker.port, messages=10, topics=("sensors/a",))) as publisher:
                await publisher.finish()
            await process.until(lambda status: status["sinks"]["picky"]["state"] == "retrying")
            async with http.get("/flowz") as answer:
                assert answer.status == 503
                assert "sink picky is retrying, 10 messages wait" in (await answer.json())["reasons"][0]
            async with http.get("/metrics") as answer:
                text = await answer.text()
                assert 'edgerouter_sink_pending{sink="picky"} 10.0' in text
                assert "edgerouter_ready 1.0" in text
            async with http.get("/api/status") as answer:
                assert (await answer.json())["sinks"]["picky"]["matched"] == 10
            async with http.post("/api/v1/forget", json={"sink": "picky"}) as answer:
                assert answer.status == 403
            broker.stop()
            await process.until(lambda status: not status["sources"]["local"]["connected"])
            async with http.get("/readyz") as answer:
                assert answer.status == 503
                assert "source local is not connected" in (await answer.json())["reasons"][0]
