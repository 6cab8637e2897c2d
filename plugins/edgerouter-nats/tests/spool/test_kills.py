"""Routers and NATS nodes are killed at random under load: nothing acknowledged is lost, keys keep their order, the ledger is exact.

A delivery is one chunk, and now and then several.

`EDGEROUTER_KILLS=20` runs the long form: three routers at 10,000 messages a second, and routers are also stopped for up to three
leases and continued. `EDGEROUTER_SEED` chooses another course of events.

Covers: edgerouter_nats.spool.engine, edgerouter_nats.spool.positions, edgerouter_nats.spool.tail, tests/support/nats.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgerouter_nats.spool.shards import total
from support.nats.cluster import NatsCluster
from support.nats.router_process import Orders, acknowledged_to
from support.nats.sharing import shared

KILLS = int(os.environ.get("EDGEROUTER_KILLS", "2"))
SEED = int(os.environ.get("EDGEROUTER_SEED", KILLS))
LONG = KILLS > 2
ROUTERS = ("one", "two", "three") if LONG else ("one", "two")
LEASE = 2
RATE = 10_000 // len(ROUTERS) if LONG else 1_000
"""Messages a second of each router."""
BETWEEN = 3.0 if LONG else 1.0
"""Seconds between two kills, about."""
MESSAGES = int(RATE * (KILLS + 1) * BETWEEN)
"""Messages of each router."""


class Fleet:
    """Processes of routers that share one spool, and drain it by turns."""

    def __init__(self, cluster: NatsCluster, folder: Path) -> None:
        self.folder = folder
        self._cluster = cluster
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def section(self, router: str) -> dict[str, Any]:
        """Return the section `spool` of a router."""
        return {
            "servers": self._cluster.urls,
            "router": router,
            "path": str(self.folder / router),
            "replicas": 3,
            "durability": "replicated",
            "shards": 4,
            "lease": LEASE,
        }

    def start(self, router: str) -> None:
        """Start a router, for the first time or again."""
        orders = Orders(self.section(router), str(self.folder), MESSAGES, RATE)
        command = [sys.executable, "-m", "support.nats.router_process", msgspec.json.encode(orders).decode()]
        where = Path(__file__).parents[4] / "tests"
        with (self.folder / f"{router}.out").open("ab") as out:
            self._processes[router] = subprocess.Popen(command, stdout=out, stderr=out, cwd=where)

    def kill(self, router: str) -> None:
        """Kill a router as a power cut does, and start it again."""
        self._processes[router].kill()
        self._processes[router].wait()
        self.start(router)

    def freeze(self, router: str, seconds: float) -> None:
        """Stop the process of a router for so long, as a suspended machine does."""
        self._processes[router].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._processes[router].send_signal(signal.SIGCONT)

    def stop(self) -> list[dict[str, str]]:
        """Stop all in good order; returns the faults that each reports."""
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        faults = []
        for router, process in self._processes.items():
            out = self.folder / f"{router}.out"
            assert process.wait(60) == 0, out.read_text()
            faults += [json.loads(line) for line in out.read_text().splitlines() if line.startswith("{")]
        return faults

    def wait(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until it is true while all routers run."""
        deadline = time.monotonic() + seconds
        while not condition():
            for router, process in self._processes.items():
                assert process.poll() is None, (self.folder / f"{router}.out").read_text()
            assert time.monotonic() < deadline, "the routers do not get on"
            time.sleep(0.1)

    @property
    def acknowledged(self) -> int:
        """Messages that were acknowledged."""
        return sum(acknowledged_to(self.folder, router) for router in ROUTERS)

    @property
    def delivered(self) -> list[list[str]]:
        """Topic, number and id of everything that was delivered, in order."""
        file = self.folder / "delivered"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.timeout(90 + KILLS * 30)
def test_kills_of_routers_and_of_nodes_lose_nothing_and_repeat_little_under_the_same_id(tmp_path: Path, store: Path) -> None:
    chance = random.Random(SEED)
    wanted = MESSAGES * len(ROUTERS)
    with NatsCluster(store / "killed", jetstream=["sync_interval: always"]) as cluster:
        fleet = Fleet(cluster, tmp_path)
        for router in ROUTERS:
            fleet.start(router)
        for number in range(KILLS):
            due = wanted * (number + 1) // (KILLS + 2)
            fleet.wait(lambda due=due: fleet.acknowledged >= due)  # type: ignore[misc]
            strike(fleet, cluster, ("router", "node", "freeze")[number % (3 if LONG else 2)], chance)
        fleet.wait(lambda: fleet.acknowledged == wanted, 60 + KILLS * 10)
        fleet.wait(lambda: len({(topic, number) for topic, number, _ in fleet.delivered}) == wanted)
        faults = fleet.stop()
        check(fleet.delivered, wanted)
        assert faults == [{}] * len(ROUTERS)
        ledger = asyncio.run(summed(fleet.section("reader")))
    assert (ledger.matched, ledger.delivered, ledger.pending, ledger.uncounted) == (wanted, wanted, 0, 0)


def strike(fleet: Fleet, cluster: NatsCluster, what: str, chance: random.Random) -> None:
    """Kill or freeze one of them."""
    # nothing waits for a node: how long it is away is what varies
    away = chance.random()
    if what == "node":
        node = chance.choice(cluster.nodes)
        node.kill()
        time.sleep(away * BETWEEN / 2)
        node.start()
    elif what == "router":
        fleet.kill(chance.choice(ROUTERS))
    else:
        fleet.freeze(chance.choice(ROUTERS), away * 3 * LEASE)


def check(delivered: list[list[str]], wanted: int) -> None:
    """Compare what was delivered with what was sent."""
    ids: dict[tuple[str, str], set[str]] = {}
    first: dict[str, list[int]] = {}
    for topic, number, id_ in delivered:
        known = ids.setdefault((topic, number), set())
        if not known:
            first.setdefault(topic, []).append(int(number))
        known.add(id_)
    repeats = len(delivered) - wanted
    print(f"{KILLS} kills at {RATE * len(ROUTERS)} messages/s: {wanted} messages, {repeats} repeats")
    assert len(ids) == wanted, "each message is delivered"
    assert all(len(known) == 1 for known in ids.values()), "repeats have the same id"
    assert all(seen == sorted(seen) for seen in first.values()), "each key is in order"
    assert repeats <= KILLS * RATE * len(ROUTERS), "a second of messages may be repeated for each kill"


async def summed(section: dict[str, Any]) -> Any:
    """Return the ledger of the sink over all shards, as it is stored."""
    async with shared(section) as spool:
        return total(ledger.numbers for ledger in (await spool.shard_records()).values())
