"""A real Prometheus scrapes a real router: metrics, alert rules and dashboard agree, and each alert leads to its section."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from support.mosquitto import free_port
from support.prometheus import EMPTY, PROMTOOL, Prometheus, prometheus, queries
from support.router import router

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/edgerouter.rules.yml"
REFERENCE = ROOT / "docs/reference/metrics.md"


def alerts() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return rules


def named(text: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"edgerouter_\w+", text)}


def documented() -> dict[str, str]:
    """Types of the metrics of the reference."""
    return dict(re.findall(r"^\| `(edgerouter_\w+)` \| (\w+) \|", REFERENCE.read_text(), re.MULTILINE))


def test_rules_and_dashboard_name_only_metrics_of_the_reference() -> None:
    used = set[str]().union(*(named(alert["expr"]) for alert in alerts()), *(named(expression) for _, expression in queries()))
    assert len(used) > 20
    assert used <= documented().keys()


def test_every_alert_leads_to_its_section_of_the_runbook_and_every_section_has_an_alert() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs/how-to/runbook.md").read_text(), re.MULTILINE)
    assert [alert["alert"] for alert in alerts()] == sections
    for alert in alerts():
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert page.endswith("/docs/how-to/runbook.md")
        assert anchor == alert["alert"].lower()
        assert alert["labels"]["severity"] in ("warning", "critical")


def test_promtool_accepts_the_rules_and_each_fires_for_its_fault_alone() -> None:
    for command, file in (("check", RULES), ("test", RULES.parent / "edgerouter.tests.yml")):
        done = subprocess.run([PROMTOOL, command, "rules", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


async def test_every_query_of_the_dashboard_and_the_rules_has_an_answer_from_a_router(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    steps = [{"type": "filter", "topics": ["#"]}]
    config = {
        "sources": {"in": {"type": "http", "listen": f"127.0.0.1:{port}", "steps": steps}},
        "sinks": {"out": {"type": "file", "path": str(tmp_path / "out.jsonl"), "steps": steps}},
        "admin": {"listen": f"127.0.0.1:{admin}"},
    }
    async with router(tmp_path, config) as process, prometheus(tmp_path / "prometheus", [f"127.0.0.1:{admin}"], RULES) as scraper:
        await process.start()
        async with aiohttp.ClientSession() as session:
            for number in range(3):
                async with session.post(f"http://127.0.0.1:{port}/topics/plant/temp", data=str(number)) as response:
                    assert response.status == 202
        await process.until_delivered()
        await scraper.until("edgerouter_sink_delivered_total == 3 and count_over_time(edgerouter_sink_delivered_total[1m]) > 2")
        await _every_query_answers(scraper)
        text = (await process.get("/metrics")).decode()
    lint = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert [line for line in lint.stderr.splitlines() if line.startswith("edgerouter_")] == []
    assert dict(re.findall(r"^# TYPE (edgerouter_\w+) (\w+)", text, re.MULTILINE)) == documented()


async def _every_query_answers(scraper: Prometheus) -> None:
    for title, expression in queries():
        found = await scraper.query(expression)
        assert found or title in EMPTY, f"the panel {title!r} is empty: {expression}"
    for alert in alerts():
        assert await scraper.query(alert["expr"]) == [], f"{alert['alert']} fires for a router in order"
