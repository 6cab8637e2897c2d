"""The distributions of docs/how-to/write-a-plugin.md work in a router, in `plugins` and `schema`, and in the conformance suite."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from support.command import run
from support.distributions import install, on_path
from support.mosquitto import free_port
from support.promise import ledgers_hold, spool_is_sound
from support.router import router

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PLUGINS = ("edgerouter-clamp", "edgerouter-opensearch", "edgerouter-tcp-lines")
LINES = 500


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """Install the distributions as pip would, according to their pyproject.toml."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name in PLUGINS:
        said = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text())
        (module,) = said["tool"]["setuptools"]["py-modules"]
        code = (EXAMPLES / name / f"{module}.py").read_text()
        install(folder, said["project"]["name"], module, code, said["project"]["entry-points"], version=said["project"]["version"])
    with on_path(folder):
        yield folder


def environment(site: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))}


def module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


async def test_lines_over_tcp_become_documents_through_a_router_process(site: Path, tmp_path: Path) -> None:
    """Every line answered with `ok` becomes a document, although the service fails, refuses and loses answers meanwhile."""
    port = free_port()
    async with module(EXAMPLES / "edgerouter-opensearch" / "tests" / "test_opensearch.py").OpenSearch().running() as service:
        config = {
            "sources": {"lines": {"type": "tcp-lines", "port": port, "topic": "plant/log"}},
            "sinks": {
                "search": {
                    "type": "opensearch", "url": service.url, "index": "plant", "batch": {"max_messages": 50},
                    "retry": {"first_delay": "20ms", "max_delay": "50ms"},
                }
            },
        }  # fmt: skip
        async with router(tmp_path, config, environment(site)) as process:
            await process.start()
            await service.lose_next_response()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.writelines(b"line %d\n" % number for number in range(LINES))
            async with asyncio.timeout(30):
                answers = [await reader.readline() for _ in range(LINES)]
            assert answers == [b"ok\n"] * LINES
            await service.fail()
            writer.write(b"while it is broken\n")
            async with asyncio.timeout(30):
                assert await reader.readline() == b"ok\n", "the source does not wait for the sink"
            await process.until(lambda status: status["sinks"]["search"]["state"] == "retrying")
            await service.heal()
            ledgers_hold(await process.until(lambda status: status["sinks"]["search"]["delivered"] == LINES + 1))
            assert await process.stop() == 0
            writer.close()
            await writer.wait_closed()
        await spool_is_sound(process.spool)
    payloads = [json.loads(line)["payload"] for line in service.documents.values()]
    assert payloads == [*(f"line {number}" for number in range(LINES)), "while it is broken"]


def test_they_are_listed_described_and_checked(site: Path, tmp_path: Path) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text(
        "sources: {lines: {type: tcp-lines, port: 1, topic: plant/log}}\n"
        "sinks: {search: {type: opensearch, url: 'http://localhost:9200', indx: plant}}\n"
        f"spool: {{path: {tmp_path / 'spool'}}}\n"
    )

    def edgerouter(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, environment={**os.environ, **environment(site)})

    listed = {plugin["name"]: plugin for plugin in json.loads(edgerouter("plugins", "--json").stdout)}
    assert listed["opensearch"]["distribution"] == "edgerouter-opensearch"
    assert listed["clamp"]["distribution"] == "edgerouter-clamp"
    assert listed["tcp-lines"]["distribution"] == "edgerouter-tcp-lines"
    schema = edgerouter("schema").stdout
    assert "Index or data stream." in schema
    assert "Topic of all messages." in schema
    checked = edgerouter("check", "-c", str(file))
    assert checked.returncode == 2
    assert "edgerouter.yaml:2:" in checked.stderr
    assert "index" in checked.stderr


@pytest.mark.parametrize("name", PLUGINS)
def test_each_keeps_the_promises_of_its_conformance_suite_as_its_author_runs_it(name: str, site: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=EXAMPLES / name, capture_output=True, text=True, timeout=110, check=False,
        env={**os.environ, **environment(site), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
