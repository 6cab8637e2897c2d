"""The services of `deploy/compose` as processes: its commands, variables and files, at addresses and in folders of this machine.

Covers: deploy/compose.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import pytest
import yaml

from support import mosquitto, prometheus
from support.compose import Compose, moved
from support.mosquitto import free_port
from support.prometheus import EMPTY, Prometheus, queries
from support.router import RouterProcess, router

FOLDER = Path(__file__).resolve().parents[2] / "deploy/compose"
DEVICE = FOLDER.parents[1] / "examples/cputemp/cputemp.py"
WITHOUT_STEPS = {"Messages that reach a step"}
"""Panels that are empty for a configuration without steps."""


class Stack:
    """The compose file with its own passwords, and the places of its services on this machine."""

    def __init__(self, folder: Path) -> None:
        variables = ("ROUTER_PASSWORD", "DEVICE_PASSWORD", "ADMIN_TOKEN")
        self.passwords = {name: secrets.token_hex(24) for name in variables}
        self.compose = Compose(FOLDER / "compose.yaml", self.passwords)
        self.folder = folder
        self.broker_port, self.admin_port, self.prometheus_port = free_port(), free_port(), free_port()
        self.volume = folder / "mosquitto"
        self.volume.mkdir()

    def write_passwords(self) -> None:
        """Run the service `passwords`, which ends."""
        *shell, script = self.compose.command("passwords")
        command = [*shell, moved(script, {"/mosquitto/data/": f"{self.volume}/"})]
        subprocess.run(command, env={**os.environ, **self.compose.environment("passwords")}, check=True, timeout=20)

    def broker(self) -> AbstractAsyncContextManager[None]:
        """Run the service `mqtt`."""
        config = self.compose.mounted("mqtt", "/mosquitto/config/mosquitto.conf").read_text()
        places = {"listener 1883": f"listener {self.broker_port} 127.0.0.1", "/mosquitto/data/": f"{self.volume}/"}
        return mosquitto.configured(self.folder, moved(config, places), self.broker_port)

    def router(self) -> AbstractAsyncContextManager[RouterProcess]:
        """Return the service `router`, which is not started yet."""
        *command, file = self.compose.command("router")
        assert command == ["run", "-c"]
        places = {
            "mqtt://mqtt:1883": f"mqtt://127.0.0.1:{self.broker_port}",
            "0.0.0.0:8080": f"127.0.0.1:{self.admin_port}",
            "/var/lib/edgerouter": str(self.folder / "spool"),
        }
        config = yaml.safe_load(moved(self.compose.mounted("router", file).read_text(), places))
        return router(self.folder, config, self.compose.environment("router"))

    @asynccontextmanager
    async def device(self) -> AsyncIterator[None]:
        """Run the service `data_source`, which publishes a reading when it starts."""
        variables = self.compose.environment("data_source")
        broker = moved(variables["LOCAL_MQTT_HOST"], {"@mqtt": f"@127.0.0.1:{self.broker_port}"})
        environment = {**os.environ, **variables, "LOCAL_MQTT_HOST": broker}
        process = await asyncio.create_subprocess_exec(
            sys.executable, DEVICE, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(20):
                while not (line := await process.stdout.readline()).startswith(b"cpu_temp: "):
                    assert line.startswith(b"sensor: "), line
            yield
        finally:
            process.kill()
            await process.communicate()

    def prometheus(self) -> AbstractAsyncContextManager[Prometheus]:
        """Run the service `prometheus`, which scrapes more often."""
        inside = "/etc/prometheus/prometheus.yml"
        config = self.compose.mounted("prometheus", inside).read_text()
        folder = self.folder / "prometheus"
        folder.mkdir()
        for rules in yaml.safe_load(config)["rule_files"]:
            (folder / rules).write_bytes(self.compose.mounted("prometheus", f"/etc/prometheus/{rules}").read_bytes())
        places = {"router:8080": f"127.0.0.1:{self.admin_port}", "scrape_interval: 15s": "scrape_interval: 250ms"}
        return prometheus.configured(folder, moved(config, places), self.prometheus_port)

    def datasource(self) -> str:
        """Return the URL that Grafana asks."""
        folder = self.compose.mounted("grafana", "/etc/grafana/provisioning")
        (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
        return moved(source["url"], {"prometheus:9090": f"127.0.0.1:{self.prometheus_port}"})


def printed(process: RouterProcess) -> list[dict[str, Any]]:
    """Return the payloads that the router has printed."""
    messages = (line for line in process.log.read_text().splitlines() if line.startswith('{"id"'))
    return [json.loads(line)["payload"] for line in messages]


async def readings(process: RouterProcess, count: int) -> list[dict[str, Any]]:
    """Wait until the router has printed so many messages, and return the payloads of all."""
    await process.until(lambda status: status["sinks"]["printed"]["delivered"] >= count, 30)
    return printed(process)


@pytest.fixture
async def stack(tmp_path: Path) -> Stack:
    stack = Stack(tmp_path)
    await asyncio.to_thread(stack.write_passwords)
    return stack


async def test_a_reading_reaches_the_router_also_when_the_router_and_then_the_broker_were_away(stack: Stack) -> None:
    """With passwords; the broker keeps the router's session and what is queued for it over its own restart."""
    async with stack.router() as process:
        async with stack.broker():
            await process.start()
            async with stack.device():
                reading, *_ = await readings(process, 1)
            assert -60 < reading["celsius"] < 150
            assert await process.stop() == 0
            before = len(printed(process))
            async with stack.device():
                pass
        async with stack.broker():
            await process.start()
            assert len(await readings(process, before + 1)) > before


async def test_the_broker_refuses_clients_without_a_password_or_with_a_wrong_one(stack: Stack) -> None:
    async with stack.broker():
        for name, password in ((None, None), ("device", stack.passwords["ROUTER_PASSWORD"]), ("admin", "admin")):
            with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
                async with aiomqtt.Client("127.0.0.1", stack.broker_port, username=name, password=password):
                    pass


async def test_prometheus_scrapes_the_router_and_grafana_finds_in_it_what_its_dashboard_asks_for(stack: Stack) -> None:
    """Every panel has an answer, through the data source and for the job that the configurations name; the rules are loaded."""
    async with stack.broker(), stack.router() as process, stack.prometheus() as scraper, aiohttp.ClientSession() as grafana:
        await process.start()
        async with stack.device():
            await readings(process, 1)
        await scraper.until(
            'edgerouter_sink_delivered_total{job="edgerouter"} > 0 and count_over_time(edgerouter_sink_delivered_total[1m]) > 2'
        )
        empty = set()
        for title, expression in queries("edgerouter"):
            async with grafana.get(f"{stack.datasource()}/api/v1/query", params={"query": expression}) as answer:
                found = json.loads(await answer.read())
            assert found["status"] == "success", found
            if not found["data"]["result"]:
                empty.add(title)
        assert empty <= EMPTY | WITHOUT_STEPS
        async with grafana.get(f"{stack.datasource()}/api/v1/rules") as answer:
            (group,) = json.loads(await answer.read())["data"]["groups"]
        assert "EdgerouterDown" in {rule["name"] for rule in group["rules"]}


async def test_the_token_of_the_example_steers_the_router(stack: Stack) -> None:
    async with stack.broker(), stack.router() as process, aiohttp.ClientSession() as operator:
        await process.start()
        url = f"http://127.0.0.1:{stack.admin_port}/api/v1/sinks/printed/pause"
        async with operator.post(url) as refused:
            assert refused.status == 401
        async with operator.post(url, headers={"Authorization": f"Bearer {stack.passwords['ADMIN_TOKEN']}"}) as answer:
            assert answer.status == 200
        await process.until(lambda status: status["sinks"]["printed"]["state"] == "paused", 30)
