"""Kill and drain routers of a shared subscription at random for a while, and compare what was sent with what arrived.

`PYTHONPATH=tests python -m benchmarks.fleet --broker rumqttd --seconds 600 --routers 3 --rate 2000`
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from support import mosquitto, rumqttd
from support.fleet import Fleet, fleet
from support.load import Load, Plan, load

WINDOW = 200


def broker(kind: str, folder: Path) -> AbstractContextManager[Any]:
    """Return the broker as a context."""
    if kind == "rumqttd":
        return rumqttd.running(folder)
    return mosquitto.running(folder, "max_queued_messages 0", "max_inflight_messages 1000", "log_type error")


async def disturb(routers: Fleet, publisher: Load, seconds: float, chance: random.Random) -> dict[str, int]:
    """Kill and restart, or drain and restart, one router after the other."""
    done = {"kills": 0, "drains": 0}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await publisher.at_least(publisher.acknowledged + 500)
        number = chance.randrange(len(routers.routers))
        if chance.random() < 0.5:
            await routers.routers[number].kill()
            await publisher.at_least(publisher.acknowledged + chance.randrange(1, 2000))
            done["kills"] += 1
        else:
            await routers.drain(number)
            done["drains"] += 1
        await routers.routers[number].start()
    return done


async def run(kind: str, seconds: float, count: int, rate: float) -> int:
    """Run once; returns the exit code."""
    with tempfile.TemporaryDirectory() as temporary, broker(kind, Path(temporary, "broker")) as running:
        async with fleet(Path(temporary), running.url, count, receive_maximum=WINDOW) as routers:
            await routers.start()
            async with load(Plan(getattr(running, "publish_port", running.port), rate=rate)) as publisher:
                done = await disturb(routers, publisher, seconds, random.Random(15))
                report = await publisher.stop()
            found = await routers.quiet(report, 300)
    exact = found.ledger["matched"] == found.ledger["delivered"] == found.distinct_ids == report.acknowledged + found.repeats
    print(f"{kind}: {count} routers, {done}, {report.acknowledged} acknowledged at {report.rate:.0f}/s: {found}, exact: {exact}")
    return 0 if exact and not found.missing and not found.shared_ids else 1


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=["mosquitto", "rumqttd"], default="mosquitto")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--routers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=2000)
    chosen = parser.parse_args()
    return asyncio.run(run(chosen.broker, chosen.seconds, chosen.routers, chosen.rate))


if __name__ == "__main__":
    sys.exit(main())
