"""Routers and NATS nodes are killed at random under load: nothing acknowledged is lost, keys keep their order, the ledger is exact.

`EDGEROUTER_KILLS=20` runs the long form, at 10,000 messages a second.

Covers: edgerouter_nats.spool.engine, edgerouter_nats.spool.positions, edgerouter_nats.spool.tail.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from support.nats.cluster import NatsCluster
from support.nats.router_process import Orders, acknowledged_to

KILLS = int(os.environ.get("EDGEROUTER_KILLS", "2"))
RATE = 10_000 if KILLS > 2 else 2_000
BETWEEN = 3.0 if KILLS > 2 else 1.0
"""Seconds between two kills, about."""


def started(orders: Orders) -> subprocess.Popen[str]:
    """Start the router's process."""
    command = [sys.executable, "-m", "support.nats.router_process", msgspec.json.encode(orders).decode()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4] / "tests")


@pytest.mark.timeout(90 + KILLS * 30)
def test_kills_of_the_router_and_of_nodes_lose_nothing_and_repeat_little_under_the_same_id(tmp_path: Path) -> None:
    chance = random.Random(KILLS)
    with NatsCluster(tmp_path / "nats", jetstream=["sync_interval: always"]) as cluster:
        total = int(RATE * (KILLS + 1) * BETWEEN)
        orders = Orders(cluster.urls, "KILLS", "one", str(tmp_path), total, RATE)
        process = started(orders)
        for number in range(KILLS):
            wait_for(tmp_path, total * (number + 1) // (KILLS + 2), process)
            if number % 2:
                node = chance.choice(cluster.nodes)
                node.kill()
                time.sleep(chance.random() * BETWEEN / 2)  # how long it is away is what varies, nothing waits for it
                node.start()
            else:
                process.kill()
                process.communicate()
                process = started(orders)
        out = process.communicate(timeout=60 + KILLS * 20)[0]
    assert process.returncode == 0
    check(tmp_path, total, json.loads(out.splitlines()[-1]))


def wait_for(folder: Path, messages: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many messages are acknowledged."""
    deadline = time.monotonic() + 60
    while acknowledged_to(folder, "one") < messages:
        assert process.poll() is None, "the router has ended"
        assert time.monotonic() < deadline, "the router does not get on"
        time.sleep(0.02)


def check(folder: Path, total: int, end: dict[str, dict[str, int]]) -> None:
    """Compare what was delivered with what was acknowledged."""
    rows = [line.split() for line in (folder / "delivered").read_text().splitlines()]
    numbers = Counter(int(number) for _, number, _ in rows)
    assert acknowledged_to(folder, "one") == total
    assert sorted(numbers) == list(range(total)), "each acknowledged message is delivered"
    ids: dict[int, set[str]] = {}
    first: dict[str, list[int]] = {}
    for topic, number, id_ in rows:
        known = ids.setdefault(int(number), set())
        if not known:
            first.setdefault(topic, []).append(int(number))
        known.add(id_)
    assert all(len(known) == 1 for known in ids.values()), "repeats have the same id"
    assert all(seen == sorted(seen) for seen in first.values()), "each key is in order"
    repeats = len(rows) - total
    print(f"{KILLS} kills at {RATE} messages/s: {total} messages, {repeats} repeats; {end}")
    assert repeats <= KILLS * RATE, "a second of messages may be repeated for each kill"
    assert end["faults"] == {}
    ledger = end["ledger"]
    assert (ledger["matched"], ledger["delivered"], ledger["pending"]) == (total, total, 0)
