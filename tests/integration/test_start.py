"""A router with an MQTT source, a file sink and an MQTT sink starts without what only others need.

Covers: src/edgerouter/cli/run.py, src/edgerouter/cli/start.py, src/edgerouter/admin/on_demand.py.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import aiohttp
import aiomqtt
import yaml

from support.arrivals import lines
from support.mosquitto import Mosquitto
from support.pipeline import until

PROGRAM = """\
import json, sys
from pathlib import Path
from edgerouter.cli.start import main
file = Path(sys.argv.pop())
try:
    main()
finally:
    file.write_text(json.dumps(sorted(sys.modules)))
"""
NOT_NEEDED = {
    "aiohttp": "a web server and client: the admin server has no caller",
    "attr": "came with aiohttp",
    "cryptography": "no step encrypts",
    "edgerouter.admin.api": "the admin server has no caller",
    "edgerouter.admin.metrics": "nothing scrapes",
    "edgerouter.cloudblock.declared": "the configuration is a file",
    "edgerouter.doctor": "another command",
    "edgerouter.sinks.http": "not configured",
    "edgerouter.variables": "the configuration is a file",
    "dotenv": "the configuration is a file",
    "jmespath": "no step queries",
    "jsonschema_rs": "no step validates",
    "opentelemetry": "nothing is exported",
    "prometheus_client": "nothing scrapes",
    "psutil": "no source reads the machine",
    "pydantic_settings": "the configuration is a file",
    "rich": "the log has no colours",
    "typer": "no other command",
}
"""Modules with the reason why this router does without them."""


async def test_a_router_imports_what_its_configuration_needs_and_the_admin_server_with_the_first_caller(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.publish("plant/one", b"{}", qos=1, retain=True)
        config = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["plant/#"]}},
            "sinks": {"out": {"type": "file", "path": str(tmp_path / "out")}, "up": {"type": "mqtt", "url": "mqtt://127.0.0.1:1"}},
            "shutdown": {"grace": 0},
            "spool": {"path": str(tmp_path / "spool")},
        }
        (tmp_path / "edgerouter.yaml").write_text(yaml.safe_dump(config))

        assert not await imported(tmp_path, called=False) & NOT_NEEDED.keys()
        (tmp_path / "out").rename(tmp_path / "first")
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.publish("plant/one", b"{}", qos=1)
        assert await imported(tmp_path, called=True) >= {"aiohttp", "edgerouter.admin.api"}


async def imported(folder: Path, *, called: bool) -> set[str]:
    """Run a router until a message is in the file, and the admin server was called if it is to be; return all that it imported."""
    found = folder / "modules.json"
    arguments = ("run", "-c", str(folder / "edgerouter.yaml"), str(found))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, *arguments)
    try:
        await until(lambda: any(lines(folder / "out")), 60)
        if called:
            connector = aiohttp.UnixConnector(str(folder / "spool" / "control.sock"))
            async with aiohttp.ClientSession("http://edgerouter", connector=connector) as http, http.get("/livez") as answer:
                assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return set(json.loads(found.read_text()))
