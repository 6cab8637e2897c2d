"""A support bundle is whole or says why not, from a running, stopped or hanging router, and holds no secret and no payload.

Covers: edgerouter.cli.bundle, edgerouter.bundle.spool_copy, edgerouter.cli.diagnose.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgerouter.bundle import spool_copy
from edgerouter.config.model import SpoolConfig
from support.command import run
from support.mosquitto import Mosquitto, running
from support.router import RouterProcess, router
from support.stopped import freeze

SECRETS = {
    "url": "Url-Password/with:signs",
    "proxy": "Proxy-Password-5381",
    "header": "Header-Token-99112",
    "token": "Influx-Token-77453==",
    "file": "Password-In-A-File-3301",
    "variable": "Variable-Secret-4420",
    "step": "c2VjcmV0LWtleS1vZi1zdGVwcy0zMi1ieXRlcy1sb24=",
    "admin": "Admin-Token-With-32-Characters-0001",
}
PAYLOAD = "payload-that-must-not-be-seen-4711"
HOSTILE = "hostile/[red]:smile:\u202etopic"
"""Mosquitto refuses control characters in a topic."""


def parts(file: Path) -> dict[str, str]:
    """Return the files of a bundle by name."""
    with tarfile.open(file) as archive:
        found = {member.name.rpartition("/")[2]: archive.extractfile(member) for member in archive}
        return {name: opened.read().decode() for name, opened in found.items() if opened is not None}


def missing(found: dict[str, str]) -> dict[str, str]:
    return {part["name"]: part["missing"] for part in json.loads(found["manifest.json"])["parts"] if "missing" in part}


def configuration(folder: Path, broker: Mosquitto) -> dict[str, Any]:
    """Return a configuration with every kind of secret; its services are not there."""
    (folder / "password").write_text(SECRETS["file"])
    return {
        "sources": {
            "local": {
                "type": "mqtt",
                "url": broker.url,
                "topics": ["#"],
                "username": "u",
                "password_file": str(folder / "password"),
            }
        },
        "sinks": {
            "files": {"type": "file", "path": str(folder / "files")},
            "web": {
                "type": "http",
                "url": "http://127.0.0.1:1/",
                "headers": {"X-Token": SECRETS["header"], "X-Variable": "${env:BUNDLE_SECRET}"},
            },
            "influx": {"type": "influxdb", "url": "http://127.0.0.1:1", "org": "o", "bucket": "b", "token": SECRETS["token"]},
            "other": {"type": "mqtt", "url": "mqtt://u:Url-Password%2Fwith%3Asigns@127.0.0.1:1", "topic": "x/{topic}"},
            "proxied": {
                "type": "mqtt",
                "url": "mqtt://127.0.0.1:1",
                "proxy": f"http://u:{SECRETS['proxy']}@127.0.0.1:1",
                "topic": "x/{topic}",
                "steps": [{"type": "encrypt", "key": SECRETS["step"]}],
            },
        },
        "spool": {"path": str(folder / "spool")},
        "admin": {"tokens": {"ops": {"token": SECRETS["admin"]}}},
    }


def collect(process: RouterProcess, file: Path, *options: str) -> tuple[dict[str, str], str]:
    """Run the command and return the parts of the bundle with everything that it printed."""
    environment = {**os.environ, "BUNDLE_SECRET": SECRETS["variable"]}
    ended = run("bundle", "-c", process.file, "-o", file, *options, environment=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return parts(file), ended.stdout + ended.stderr


def hides_everything(found: dict[str, str], said: str) -> None:
    everything = said + "".join(found.values())
    leaked = [name for name, secret in SECRETS.items() if secret in everything]
    assert leaked == []
    assert PAYLOAD not in everything
    assert "\x1b" not in everything
    assert "\u202e" not in everything


async def test_a_bundle_holds_everything_but_secrets_and_payloads(tmp_path: Path) -> None:
    """From a running, a hanging and a stopped router."""
    environment = {"BUNDLE_SECRET": SECRETS["variable"]}
    with running(tmp_path / "broker") as broker:
        async with router(tmp_path, configuration(tmp_path, broker), environment=environment) as process:
            await process.start(connected=False)
            await process.until(lambda status: status["sources"]["local"]["connected"])
            await publish(broker, HOSTILE, PAYLOAD)
            await process.until(lambda status: status["sinks"]["files"]["delivered"] == 1)
            whole, said = await asyncio.to_thread(collect, process, tmp_path / "whole.tar.gz")

            freeze(process.pid)
            try:
                hanging, _ = await asyncio.to_thread(collect, process, tmp_path / "hanging.tar.gz", "--no-doctor")
            finally:
                os.kill(process.pid, signal.SIGCONT)
            await process.stop()
            before = {each.name: each.stat().st_mtime_ns for each in process.spool.iterdir()}
            stopped, _ = await asyncio.to_thread(collect, process, tmp_path / "stopped.tar.gz", "--no-doctor")
            after = {each.name: each.stat().st_mtime_ns for each in process.spool.iterdir()}

    for found in (whole, hanging, stopped):
        hides_everything(found, said)
    assert missing(whole) == {}, "all parts of a running router are there"
    assert json.loads(whole["status.json"])["running"]
    assert json.loads(whole["verification.json"])["problems"] == []
    assert "edgerouter_sink" in whole["metrics.txt"]
    assert "***" in whole["configuration.yaml"]
    assert "edgerouter.yaml:" in whole["configuration.yaml"], "values have their origins"
    assert json.loads(whole["doctor.json"])
    assert '"level": "info"' in whole["log.txt"]
    assert "edgerouter==" in whole["packages.txt"]
    assert "Look at it before you send it" in said

    assert "does not answer" in missing(hanging)["status.json"]
    assert "configuration.yaml" in hanging
    assert "log.txt" in hanging, "the process still has its log open"

    assert not json.loads(stopped["status.json"])["running"]
    assert json.loads(stopped["verification.json"])["problems"] == []
    assert "no router runs" in missing(stopped)["events.json"]
    assert before == after, "a copy was verified"


async def publish(broker: Mosquitto, topic: str, payload: str) -> None:
    """Publish one message as a hostile device does."""
    import aiomqtt

    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.publish(topic, payload, qos=1)


def test_a_configuration_that_is_wrong_is_a_missing_part(tmp_path: Path) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text(yaml.safe_dump({"sinks": {"x": {"type": "no-such"}}, "spool": {"path": str(tmp_path / "spool")}}))

    ended = run("bundle", "-c", file, "-o", tmp_path / "b.tar.gz", "--log", tmp_path / "none.log")

    assert ended.returncode == 0, ended.stderr
    reasons = missing(parts(tmp_path / "b.tar.gz"))
    assert "no-such" in reasons["configuration.yaml"]
    assert "no-such" in reasons["doctor.json"]
    assert "No such file" in reasons["log.txt"]
    assert "no spool" in reasons["status.json"] or "No such file" in reasons["status.json"]
    assert not (tmp_path / "spool").exists(), "looking makes no spool"


def test_a_file_that_exists_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "b.tar.gz"
    file.write_text("kept")

    ended = run("bundle", "--spool", tmp_path / "spool", "-o", file, "--no-doctor")

    assert ended.returncode == 2
    assert "--output" in ended.stderr
    assert file.read_text() == "kept"


async def test_a_spool_larger_than_the_bound_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(bytes(1000))

    with pytest.raises(spool_copy.NotCopied, match="edgerouter verify"):
        await spool_copy.look(SpoolConfig(path=tmp_path), most=500)
