"""`check --connect` probes a real broker and leaves nothing behind.

Covers: edgerouter.cli.probe.
"""

from pathlib import Path
from typing import Any

import yaml

from support.command import run
from support.mosquitto import running
from support.router import router


def check(file: Path) -> tuple[int, str]:
    """Run the command; return exit code and output."""
    ended = run("check", "--connect", "-c", file)
    return ended.returncode, ended.stdout + ended.stderr


def test_a_check_with_connect_leaves_no_session_and_disturbs_no_running_router(tmp_path: Path) -> None:
    with running(tmp_path / "broker") as broker:
        file = tmp_path / "edgerouter.yaml"
        config = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["a/#"], "client_id": "router"}},
            "spool": {"path": str(tmp_path / "spool")},
            "sinks": {"files": {"type": "file", "path": str(tmp_path / "files")}},
        }
        file.write_text(yaml.safe_dump(config))
        code, said = check(file)
        assert code == 0, said
        log = broker.log
    assert "router-check" in log
    assert " as router (" not in log, "the router's own client id was not used"
    assert "a/# (QoS 0)" in log, "a refused filter would show"
    assert "Received UNSUBSCRIBE from router-check" in log, "and is taken back"
    assert "c1" in log, "a clean session"


async def test_a_check_with_connect_beside_a_running_router_finds_its_file_sinks_well(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "sources": {"local": {"type": "mqtt", "url": "mqtt://127.0.0.1", "topics": ["a/#"]}},
        "sinks": {
            "files": {"type": "file", "path": str(tmp_path / "files"), "once": True},
            "objects": {"type": "file", "path": str(tmp_path / "objects"), "key": "{topic}/{id}.jsonl"},
        },
    }
    with running(tmp_path / "broker") as broker:
        config["sources"]["local"]["url"] = broker.url
        async with router(tmp_path, config) as process:
            await process.start()
            code, said = await process.check_connect()
            assert code == 0, said
            assert "sink files (file): ok" in said
            assert "sink objects (file): ok" in said
            status = await process.status()
            assert {sink["state"] for sink in status["sinks"].values()} == {"ok"}
