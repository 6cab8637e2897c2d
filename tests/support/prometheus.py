"""A real Prometheus that scrapes a router, promtool (Debian's package `prometheus`), and what the dashboard asks for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from support.mosquitto import free_port

PROMETHEUS = shutil.which("prometheus") or "/usr/bin/prometheus"
PROMTOOL = shutil.which("promtool") or "/usr/bin/promtool"
DASHBOARD = Path(__file__).parents[2] / "deploy/grafana/edgerouter.json"
EMPTY = {
    "Oldest pending",
    "Oldest unacknowledged",
    "Age of fence and position",
    "Lease of a shared spool",
    "Starts",
    "Dropped and dead-lettered",
    "Certificates, days left",
    "Written in a year",
    "Left out or unusable",
}
"""Panels of the dashboard that may show nothing for a router that has just started."""


def queries(job: str = ".*") -> list[tuple[str, str]]:
    """Return title and expression of every panel of the dashboard, variables as Grafana replaces them for a job."""
    dashboard = json.loads(DASHBOARD.read_text())
    shown = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    shown += [(note["name"], note["expr"]) for note in dashboard["annotations"]["list"]]
    values = {"$job": job, "$instance": ".*", "$__rate_interval": "1m"}
    return [(title, re.sub(r"\$\w+", lambda name: values[name[0]], expression)) for title, expression in shown]


class Prometheus:
    """Its HTTP interface."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an expression at this moment.

        Raises:
            AssertionError: Prometheus refuses the expression.
        """
        async with self._session.post(f"{self._url}/api/v1/query", data={"query": expression}) as response:
            answer = json.loads(await response.read())
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    async def until(self, expression: str, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until an expression has a result."""
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    if found := await self.query(expression):
                        return found
                await asyncio.sleep(0.1)


@asynccontextmanager
async def prometheus(folder: Path, targets: Sequence[str], rules: Path) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes these targets four times a second."""
    config = {
        "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "edgerouter", "static_configs": [{"targets": list(targets)}]}],
        "rule_files": [str(rules)],
    }
    async with configured(folder, json.dumps(config)) as running:
        yield running


@asynccontextmanager
async def configured(folder: Path, config: str, port: int | None = None) -> AsyncIterator[Prometheus]:
    """Run a Prometheus with this configuration file.

    Args:
        folder: folder for the file, to which paths in it are relative, for the store and for the log.
        config: text of the file.
        port: port to listen on; a free one by default.
    """
    folder.mkdir(exist_ok=True)
    (folder / "prometheus.yml").write_text(config)
    port = port or free_port()
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROMETHEUS,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
            env={**os.environ, "GOMAXPROCS": "1"},
        )
    try:
        async with aiohttp.ClientSession() as session:
            yield Prometheus(session, f"http://127.0.0.1:{port}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()
