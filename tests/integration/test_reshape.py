"""A replay after a change of the steps sends the new shape under the same ids, and writes objects beside the earlier ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command import edgerouter
from support.load import Plan, load
from support.mosquitto import Mosquitto, running
from support.router import router

COUNT = 6


def configuration(broker: Mosquitto, tmp_path: Path, steps: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"]}},
        "spool": {"path": str(tmp_path / "spool"), "retain": {"age": "1h", "bytes": "10MiB"}},
        "sinks": {
            "grown": {"type": "file", "path": str(tmp_path / "grown"), "steps": steps},
            "objects": {"type": "file", "path": str(tmp_path / "objects"), "key": "{topic}/{id}.jsonl", "steps": steps},
        },
    }


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("[!.]*.jsonl")}


def lines(files: dict[Path, bytes]) -> dict[str, list[Any]]:
    """Return the payloads of each id, in the order in which they were written."""
    found: dict[str, list[Any]] = {}
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns):
        for line in files[path].splitlines():
            result = json.loads(line)
            found.setdefault(result["id"], []).append(result["payload"])
    return found


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with running(tmp_path / "broker", "log_type error") as started:
        yield started


async def test_a_replay_has_the_new_shape_the_same_ids_and_objects_of_another_name(broker: Mosquitto, tmp_path: Path) -> None:
    async with router(tmp_path, configuration(broker, tmp_path, [{"type": "pick", "fields": ["n"]}])) as process:
        await process.start()
        async with load(Plan(broker.port, messages=COUNT, topics=("sensors/a",))) as publisher:
            await publisher.finish()
        await process.until(lambda status: status["spool"]["last_sequence"] == COUNT)
        await process.until_delivered()
        assert await process.stop() == 0
        before = content(tmp_path / "objects")
        first = lines(before)
        process.write(configuration(broker, tmp_path, [{"type": "project", "expression": "{number: n}"}]))
        await process.start()
        for sink in ("grown", "objects"):
            said = await edgerouter("replay", "-c", process.file, "--sink", sink)
            assert f"{COUNT} messages" in said
        await process.until_delivered()
        assert await process.stop() == 0
    assert sorted(payload["n"] for (payload,) in first.values()) == list(range(1, COUNT + 1))
    after = content(tmp_path / "objects")
    assert {path: after[path] for path in before} == before, "no object was written over"
    again = lines({path: data for path, data in after.items() if path not in before})
    shaped = {identifier: [{"number": payload["n"]}] for identifier, (payload,) in first.items()}
    assert again == shaped
    assert lines(content(tmp_path / "grown")) == {identifier: first[identifier] + shaped[identifier] for identifier in first}
