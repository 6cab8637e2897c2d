"""`kill -9` at random moments changes nothing of what steps make: windows, parts, and what is filtered.

Covers: edgerouter.pipeline.shaping.reader.
"""

import os
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.arrivals import arrivals, lines
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


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of a file sink by id; a repeated one is equal."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines(folder):
        result = msgspec.json.decode(line)
        assert found.setdefault(result["id"], result) == result, "an id stands for one result"
    return found


@pytest.mark.timeout(180 + 10 * KILLS)
async def test_kills_change_no_window_lose_no_part_and_count_what_is_filtered(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with running(tmp_path / "broker", "max_queued_messages 0", "max_inflight_messages 500", "log_type error") as broker:
        config = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"]}},
            "sinks": {
                name: {"type": "file", "path": str(tmp_path / name), "once": name == "parts", "steps": steps}
                for name, steps in STEPS.items()
            },
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
    assert {name: sink["matched"] for name, sink in status["sinks"].items()} == dict.fromkeys(STEPS, stored)
    assert {name: sink["filtered"] for name, sink in status["sinks"].items() if name != "throttled"} == {
        "windows": 0,
        "parts": 0,
        "picked": TOPICS,
    }
    windows_add_up(results(tmp_path / "windows"), sent)
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
