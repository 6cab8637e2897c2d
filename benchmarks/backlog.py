"""`python -m benchmarks.backlog`: start with a large backlog, drain it, and serve live messages meanwhile."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.output import Output
from benchmarks.workspace import workspace

from edgerouter import Delivery, Message
from edgerouter.config.model import SpoolConfig
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Route
from support.load import Plan, load
from support.mosquitto import Mosquitto
from support.process_meter import usage
from support.router import RouterProcess

CHUNK = 500
BROKER = ("max_queued_messages 0", "max_inflight_messages 65535", "log_type error")


async def fill(folder: Path, messages: int, sink: str) -> int:
    """Write a backlog for a sink, as the router would; return the bytes on disk."""
    async with open_spool(SpoolConfig(path=folder, max_bytes=1 << 40, min_free_bytes=0)) as spool:
        await spool.attach(Route(sink=sink, filters=("#",), matches=lambda _: True))
        filler = b"x" * 150
        appends = []
        for first in range(0, messages, CHUNK):
            now = time.time_ns()
            chunk = [
                Message(f"backlog/{n % 50:03}/value", b'{"n":%d,"backlog":%d,"x":"%b"}' % (n, now, filler), now, 1)
                for n in range(first, min(first + CHUNK, messages))
            ]
            appends.append(spool.append("fill", Delivery(chunk, lambda: None), {sink: len(chunk)}))
            if len(appends) == 50:
                await asyncio.gather(*appends)
                appends = []
        await asyncio.gather(*appends)
        return spool.status.bytes


async def measure(messages: int, drain: str, live_rate: float, folder: Path) -> dict[str, Any]:
    """Fill, start and drain, with live messages at a rate meanwhile."""
    bytes_on_disk = await fill(folder / "spool", messages, "file")
    with Mosquitto(folder / "broker", BROKER) as broker:
        config = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"]}},
            "spool": {"path": str(folder / "spool"), "max_bytes": 1 << 40},
            "sinks": {"file": {"type": "file", "path": str(folder / "out"), "drain": drain, "rotate": {"size": "1TiB"}}},
            "log": {"level": "warning"},
        }
        process = RouterProcess(folder, config)
        output = Output(folder / "out")
        began = time.monotonic()
        await process.start()
        started = time.monotonic() - began
        try:
            before = (await process.status())["sinks"]["file"]
            drain_began = time.monotonic()
            ages: list[float] = []
            if live_rate:
                live = int(live_rate * 10)
                async with load(Plan(broker.port, messages=live, rate=live_rate)) as publisher:
                    ages = await output.first_ages(live, 120)
                    await publisher.finish()
            await process.until(lambda status: status["sinks"]["file"]["pending"] == 0, 600)
            seconds = time.monotonic() - drain_began
            used = usage(process.pid)
        finally:
            await process.kill()
    return {
        "backlog": messages,
        "drain": drain,
        "spool_bytes_a_message": bytes_on_disk / messages,
        "start_seconds": started,
        "drained_a_second": before["pending"] / seconds,
        "peak_rss_mb": used.peak_rss_bytes / 1e6,
        "cpu_us_a_message": used.cpu_seconds / messages * 1e6,
        "live_p95_ms": statistics.quantiles(ages, n=20)[18] * 1e3 if ages else None,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-backlog", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--drain", choices=("fifo", "live_first"), default="live_first")
    parser.add_argument("--live-rate", type=float, default=200.0, help="live messages a second meanwhile")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    options = parser.parse_args()
    with workspace(options.folder) as folder:
        for name, value in asyncio.run(measure(options.messages, options.drain, options.live_rate, folder)).items():
            print(f"{name:>24}  {value if not isinstance(value, float) else round(value, 3)}")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
