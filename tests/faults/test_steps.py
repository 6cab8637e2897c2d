"""`kill -9` at random moments changes nothing of what steps make: windows, parts, and what is filtered.

Covers: edgerouter.pipeline.shaping.reader.
"""

import os
import random
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from support.arrivals import arrivals, lines
from support.http_service import http_service
from support.load import Plan, load, topics
from support.mosquitto import running
from support.promise import everything_came, ledgers_hold, spool_is_sound
from support.router import router

KILLS = int(os.environ.get("EDGEROUTER_TEST_STEP_KILLS", "5"))
TOPICS = 5
LEFT_OUT = 7
STEPS: dict[str, list[dict[str, Any]]] = {
    "windows": [{"type": "window", "every": "1s", "grace": "1s", "fields": ["n"], "functions": ["count", "sum"]}],
    "parts": [{"type": "project", "expression": "[{n: n, t: t}, {n: n, t: t}]"}, {"type": "split"}],
    "picked": [{"type": "filter", "fields": [{"field": "n", "not_equals": LEFT_OUT}]}],
    "throttled": [{"type": "throttle", "every": "1s"}],
}
RETRIED = [*STEPS["windows"], {"type": "envelope"}]
RETRY = {"first_delay": "10ms", "max_delay": "100ms"}


class FaultyService:
    """Fails one request in three, half of those after it has taken their messages."""

    def __init__(self, chance: random.Random) -> None:
        self.taken: dict[str, dict[str, Any]] = {}
        self.failed = 0
        self.changed: list[str] = []
        """Ids that came again with another content."""
        self._chance = chance

    async def answer(self, request: web.Request) -> web.Response:
        """Take a body of enveloped messages, one a line."""
        lot, body = self._chance.random(), await request.read()
        if lot > 1 / 6:
            for result in map(msgspec.json.decode, body.splitlines()):
                if self.taken.setdefault(result["id"], result) != result:
                    self.changed.append(result["id"])
        self.failed += lot < 1 / 3
        return web.Response(status=503 if lot < 1 / 3 else 200)


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of a file sink by id; a repeated one is equal."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines(folder):
        result = msgspec.json.decode(line)
        assert found.setdefault(result["id"], result) == result, "an id stands for one result"
    return found


@pytest.mark.timeout(180 + 30 * KILLS)
async def test_kills_change_no_window_lose_no_part_and_count_what_is_filtered(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    service = FaultyService(random.Random(seed))
    settings = ("max_queued_messages 0", "max_inflight_messages 500", "log_type error")
    async with AsyncExitStack() as stack:
        broker = stack.enter_context(running(tmp_path / "broker", *settings))
        url = await stack.enter_async_context(http_service(service.answer))
        config = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"]}},
            "sinks": {
                name: {"type": "file", "path": str(tmp_path / name), "once": name == "parts", "steps": steps}
                for name, steps in STEPS.items()
            }
            | {"retried": {"type": "http", "url": url, "framing": "raw-lines", "steps": RETRIED, "retry": RETRY}},
        }
        async with router(tmp_path, config) as process:
            await process.start()
            async with load(Plan(broker.port, topics=topics(TOPICS), rate=600)) as publisher:
                for _ in range(KILLS):
                    await publisher.at_least(publisher.acknowledged + chance.randrange(100, 900))
                    await process.kill()
                    await process.start()
                report = await publisher.stop()
            await everything_came(broker.port, *[tmp_path / name for name in STEPS])
            status = await process.until_delivered()
            assert await process.stop() == 0
    ledgers_hold(status)
    sent = report.acknowledged_numbers()
    stored = sum(map(len, sent.values())) + 1  # the last message
    assert {name: sink["matched"] for name, sink in status["sinks"].items()} == dict.fromkeys([*STEPS, "retried"], stored)
    assert {name: sink["filtered"] for name, sink in status["sinks"].items() if name != "throttled"} == {
        "windows": 0,
        "retried": 0,
        "parts": 0,
        "picked": TOPICS,
    }
    windows_add_up(results(tmp_path / "windows"), sent)
    windows_add_up(service.taken, sent)
    assert service.failed > 0
    assert service.changed == [], "an id stands for one result"
    parts = results(tmp_path / "parts")
    assert Counter(each.rpartition(".")[2] for each in parts) == {"1": stored, "2": stored}
    assert arrivals(tmp_path / "parts").ids.total() == 2 * stored, "a file that holds every message exactly once"
    assert arrivals(tmp_path / "picked").missing_from(sent) == {topic: [LEFT_OUT] for topic in sent}
    await spool_is_sound(process.spool)


def windows_add_up(windows: dict[str, dict[str, Any]], sent: dict[str, set[int]]) -> None:
    """Check that each message was counted in one window."""
    count: Counter[str] = Counter()
    total: defaultdict[str, float] = defaultdict(float)
    for window in windows.values():
        count[window["topic"]] += window["payload"]["n"]["count"]
        total[window["topic"]] += window["payload"]["n"]["sum"]
    assert {topic: count[topic] for topic in sent} == {topic: len(numbers) for topic, numbers in sent.items()}
    assert {topic: total[topic] for topic in sent} == {topic: sum(numbers) for topic, numbers in sent.items()}
