"""The doctor measures a real broker, disturbs no router, leaves nothing behind, and survives a hostile one.

Covers: edgerouter.doctor.broker.examination, edgerouter.doctor.broker.features, edgerouter.doctor.broker.queue,
edgerouter.doctor.broker.restart, edgerouter.doctor.broker.session, edgerouter.doctor.broker.stated,
edgerouter.doctor.broker.target, edgerouter.doctor.broker.window, edgerouter.cli.doctor, edgerouter.cli.diagnose.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from edgerouter.doctor.broker import restart, stated
from edgerouter.doctor.broker.examination import examine
from edgerouter.doctor.broker.target import Asked, reach
from edgerouter.doctor.finding import Finding
from edgerouter.sources.mqtt.config import MqttSourceConfig
from support.command import run
from support.mosquitto import MOSQUITTO, Mosquitto, free_port, running
from support.mqtt_source import eventually
from support.router import router
from support.strict_broker import strict_broker

TRACE = b"edgerouter-doctor"
"""Part of every client id and topic of the doctor."""


def asked(url: str, *filters: str, **fields: Any) -> Asked:
    """Name a broker as a source of a configuration does."""
    topics = filters or ("#",)
    config = MqttSourceConfig.model_validate({"url": url, "topics": topics, **fields})
    return Asked("local", config, topics, configured=True)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {each.name.removeprefix("local: "): each for each in findings}


async def saved(broker: Mosquitto) -> bytes:
    """Return what the broker keeps of sessions, queues and retained messages."""
    database = broker.folder / "mosquitto.db"
    database.unlink(missing_ok=True)
    broker.save()
    await eventually(lambda: database.exists() and database.stat().st_size > 0)
    return database.read_bytes()


@asynccontextmanager
async def with_defaults(port: int, folder: Path) -> AsyncIterator[None]:
    """Run mosquitto without a configuration file."""
    arguments = (MOSQUITTO, "-p", str(port))
    process = await asyncio.create_subprocess_exec(*arguments, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def test_a_mosquitto_with_defaults_that_is_restarted_on_request_is_described_by_the_command(tmp_path: Path) -> None:
    """The whole command: it asks for the restart, the broker is restarted, and the report holds what was left."""
    port = free_port()
    command = ["doctor", "--broker", f"mqtt://127.0.0.1:{port}", "--only", "broker", "--json", "--restart-test"]
    async with with_defaults(port, tmp_path):
        doctor = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edgerouter.cli.main", *command), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert doctor.stderr is not None
        asked_for = (await asyncio.wait_for(doctor.stderr.readline(), 60)).decode()
    assert asked_for.startswith(f"restart the broker 127.0.0.1:{port} now"), asked_for
    async with with_defaults(port, tmp_path):
        out, errors = await asyncio.wait_for(doctor.communicate(), 60)
    assert doctor.returncode == 0, errors.decode() + out.decode()
    found = {each["name"].partition(": ")[2]: each for each in json.loads(out)}
    assert found["restart"]["verdict"] == "warn"
    assert found["restart"]["evidence"].startswith("after the restart: session lost, 0 of 100 queued messages")
    assert "persistence true" in found["restart"]["change"]
    assert found["version"]["evidence"].startswith("mosquitto version")
    assert found["protocol"]["evidence"] == "MQTT 5"
    assert found["queue"]["verdict"] == "warn"
    assert found["queue"]["evidence"].startswith("queue of 1000 messages")
    assert "max_queued_messages" in found["queue"]["change"]
    assert found["persistence"]["evidence"].startswith("persistence off")
    assert found["saving"]["evidence"].startswith("saving every 30 minutes")
    assert found["window"]["verdict"] == "ok"


async def test_a_running_router_is_not_disturbed_and_nothing_is_left_at_the_broker(tmp_path: Path) -> None:
    """The router subscribes to everything, and receives none of 5,000 probes."""
    with running(tmp_path / "broker") as broker:
        config: dict[str, Any] = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["#"]}},
            "sinks": {"files": {"type": "file", "path": str(tmp_path / "files")}},
        }
        async with router(tmp_path, config) as process:
            await process.start()
            only = "broker,memory,files,peers"
            ended = await asyncio.to_thread(run, "doctor", process.file, "--only", only)
            status = await process.status()
            kept = await saved(broker)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "queue of 1000 messages" in ended.stdout
    assert "the running router (process" in ended.stdout
    assert status["sources"]["local"]["messages"] == 0
    assert status["sources"]["local"]["connected"]
    assert status["spool"]["messages"] == 0
    assert TRACE not in kept


async def test_an_examination_that_is_interrupted_leaves_nothing_at_the_broker(tmp_path: Path) -> None:
    with running(tmp_path / "broker") as broker:
        examining = asyncio.create_task(examine(asked(broker.url)))
        await eventually(lambda: "/queue" in broker.log, 20)
        examining.cancel()
        await asyncio.wait((examining,), timeout=15)
        assert examining.cancelled()
        assert TRACE not in await saved(broker)


async def test_bounds_of_a_broker_are_found(tmp_path: Path) -> None:
    """Those of sessions, queues, windows, packets and versions that differ from what the configuration expects."""
    limits = [
        "max_queued_messages 50",
        "max_inflight_messages 10",
        "max_packet_size 100000",
        "max_keepalive 30",
        "retain_available false",
    ]
    with running(tmp_path / "broker", *limits) as broker:
        found = by_name(await examine(asked(broker.url, protocol="3.1.1")))
        newer = by_name(await examine(asked(broker.url)))
    assert found["protocol"].evidence == "MQTT 3.1.1, as configured"
    assert found["window"].verdict == "warn"
    assert found["window"].evidence.startswith("10 unacknowledged")
    assert "broker_window: 10" in found["window"].change
    assert found["queue"].evidence.startswith("queue of 50 messages")
    assert found["packet size"].verdict == "warn"
    assert newer["keep-alive"].evidence.startswith("30 s, the broker's wish")
    assert newer["packet size"].verdict == "ok", "the broker has stated its bound"
    assert "100000" in newer["packet size"].evidence
    assert "keeps none" not in newer["queue"].evidence


@pytest.mark.parametrize(("persistence", "how", "verdict"), [("true", "stop", "ok"), ("true", "kill", "warn")])
async def test_a_restart_shows_what_the_broker_keeps(tmp_path: Path, persistence: str, how: str, verdict: str) -> None:
    def again() -> None:
        getattr(broker, how)()
        broker.start()

    with Mosquitto(tmp_path, [f"persistence {persistence}"]) as broker:
        target = await reach(asked(broker.url))
        loop = asyncio.get_running_loop()
        restarts: list[asyncio.Future[None]] = []
        [found] = await restart.measure(
            target, "$edgerouter-doctor/x", ask=lambda _: restarts.append(loop.run_in_executor(None, again)), seconds=20
        )
        await asyncio.gather(*restarts)
        kept = await saved(broker)
    assert found.verdict == verdict, found
    if verdict == "ok":
        assert "session kept, 100 of 100 queued messages, retained message kept" in found.evidence
    else:
        assert "session lost, 0 of 100 queued messages, retained message lost" in found.evidence
    assert TRACE not in kept


async def test_a_restart_that_does_not_come_is_unknown(tmp_path: Path) -> None:
    with running(tmp_path) as broker:
        target = await reach(asked(broker.url))
        [found] = await restart.measure(target, "$edgerouter-doctor/x", ask=lambda _: None, seconds=0.2)
    assert found.verdict == "unknown"


async def test_a_broker_that_passes_no_hidden_topic_on_is_not_probed_below_a_topic_that_a_source_receives() -> None:
    async with strict_broker() as broker:
        everything = by_name(await examine(asked(broker.url, "#")))
        some = by_name(await examine(asked(broker.url, "plant/#")))
    topics = {published.topic for published in broker.published}
    assert everything["probes"].verdict == "unknown"
    assert "--topic" in everything["probes"].change
    assert some["probes"].verdict == "unknown", "this broker passes nothing on"
    assert all(topic.startswith(("$edgerouter-doctor/", "edgerouter-doctor/")) for topic in topics)
    assert not [topic for topic in topics if topic.startswith("plant")]


# Hostile brokers


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Run a server that answers whatever comes first, and is silent from then on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read(1000)
            writer.write(answer)
            while await reader.read(1000):
                pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 4096, b"\x20\x03\x00\x00\x7f"])
async def test_a_server_that_is_not_a_broker_is_a_failure_in_bounded_time(answer: bytes) -> None:
    async with answering(answer) as url:
        began = time.monotonic()
        found = await examine(asked(url, connect_timeout=0.3))
    assert [each.verdict for each in found] == ["fail"]
    assert time.monotonic() - began < 10


async def test_a_broker_that_leaves_mqtt_5_unanswered_gets_another_verdict_than_one_that_is_gone(tmp_path: Path) -> None:
    """A broker such as amqtt takes the CONNECT of MQTT 5 for one of 3.1.1 that is broken, and says nothing."""
    with running(tmp_path / "broker") as broker:
        async with silent_to_5(broker.port) as url:
            target = await reach(asked(url, connect_timeout=0.5))
            async with target.session() as session:
                found = by_name(stated.findings(target, session, ""))
    assert found["protocol"].verdict == "fail"
    assert "answers to MQTT 3.1.1" in found["protocol"].evidence
    assert "does not answer" in found["protocol"].evidence
    assert "`protocol: 3.1.1`" in found["protocol"].change


@asynccontextmanager
async def silent_to_5(port: int) -> AsyncIterator[str]:
    """Run a server that passes clients of MQTT 3.1.1 on to a broker, and is silent to others."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connect = await reader.read(1000)
        if connect[8:9] == b"\x04":
            answers, onward = await asyncio.open_connection("127.0.0.1", port)
            onward.write(connect)
            await asyncio.gather(_pass(reader, onward), _pass(answers, writer))
        else:
            await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(10_000):
            writer.write(data)
    writer.close()


async def test_a_broker_that_is_not_there_is_a_failure() -> None:
    found = await examine(asked(f"mqtt://127.0.0.1:{free_port()}"))

    assert [(each.name, each.verdict) for each in found] == [("local: connection", "fail")]


async def test_a_broker_that_floods_is_cut_off() -> None:
    """It answers each CONNECT with more messages than any measurement asks for."""
    body = b"\x00\x01a\x00" + bytes(1000)
    message = b"\x30" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body
    async with answering(b"\x20\x03\x00\x00\x00" + message * 40_000) as url:
        began = time.monotonic()
        found = await examine(asked(url, connect_timeout=1))
    assert [each.verdict for each in found if each.name == "local: probes"] in (["unknown"], [])
    assert not [each for each in found if each.name == "local: queue"]
    assert time.monotonic() - began < 30


async def test_a_version_that_is_not_text_is_shown_escaped(tmp_path: Path) -> None:
    """A retained message below $SYS of a hostile broker."""
    topic = b"$SYS/broker/version"
    payload = b"\x1b[2J\xff[red]evil"
    body = len(topic).to_bytes(2) + topic + b"\x00" + payload
    async with strict_broker() as broker:
        broker.greeting = b"\x31" + bytes([len(body)]) + body
        found = by_name(await examine(asked(broker.url, "#")))
    assert found["version"].evidence == "\\x1b[2J\ufffd[red]evil"
