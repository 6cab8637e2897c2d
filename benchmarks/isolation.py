"""`python -m benchmarks.isolation`: effect of a black-holed sink on its neighbour, in alternating runs."""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from benchmarks.output import Output
from benchmarks.workspace import workspace

from support.chaos import chaos
from support.load import Plan, load
from support.mosquitto import Mosquitto
from support.router import router

BROKER = ("max_queued_messages 0", "max_inflight_messages 65535", "log_type error")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the healthy sink."""

    messages_a_second: float
    p50_ms: float
    p99_ms: float


@asynccontextmanager
async def service() -> AsyncIterator[int]:
    """Run an HTTP service that accepts everything; yield its port."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app = web.Application(client_max_size=1 << 28)
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def measure(folder: Path, *, black_hole: bool, messages: int, rate: float, seconds: float) -> Run:
    """Run a file sink beside an HTTP sink whose service answers, or swallows everything."""
    async with service() as target, chaos(target) as proxy:
        if black_hole:
            proxy.black_hole()
        with Mosquitto(folder / "broker", BROKER) as broker:
            config = {
                "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"]}},
                "sinks": {
                    "healthy": {"type": "file", "path": str(folder / "out"), "rotate": {"size": "1TiB"}},
                    "other": {"type": "http", "url": f"http://127.0.0.1:{proxy.port}/", "timeout": "1s"},
                },
                "log": {"level": "error"},
                "shutdown": {"grace": "0s"},
            }
            output = Output(folder / "out")
            async with router(folder, config) as process:
                await process.start()
                async with load(Plan(broker.port, messages=messages)) as publisher:
                    ended = await output.until(messages, 60)
                    report = await publisher.finish()
                timed = int(rate * seconds)
                async with load(Plan(broker.port, messages=timed, rate=rate, client_id="timed")) as publisher:
                    ages = await output.ages(messages + timed, 60)
                    await publisher.finish()
    hundredths = statistics.quantiles(ages, n=100)
    return Run(messages / (ended - report.started_at), hundredths[49] * 1e3, hundredths[98] * 1e3)


async def alternate(rounds: int, messages: int, rate: float, seconds: float, folder: Path) -> dict[bool, list[Run]]:
    """Run alternately, so that other load on the machine affects both alike."""
    runs: dict[bool, list[Run]] = {False: [], True: []}
    for _ in range(rounds):
        for black_hole in (False, True):
            with workspace(folder) as path:
                runs[black_hole].append(await measure(path, black_hole=black_hole, messages=messages, rate=rate, seconds=seconds))
    return runs


def main() -> None:
    """Measure and print medians and their ratio."""
    parser = argparse.ArgumentParser(prog="make bench-isolation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=50_000, help="of each throughput run")
    parser.add_argument("--rate", type=float, default=1000, help="messages a second while latency is measured")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    options = parser.parse_args()
    runs = asyncio.run(alternate(options.rounds, options.messages, options.rate, options.seconds, options.folder))
    print("| the healthy sink | neighbour answers | neighbour black-holed | ratio |")
    print("|---|---:|---:|---:|")
    for name in ("messages_a_second", "p50_ms", "p99_ms"):
        without, beside = (statistics.median(getattr(run, name) for run in runs[black_hole]) for black_hole in (False, True))
        print(f"| {name.replace('_', ' ')} | {without:,.1f} | {beside:,.1f} | {beside / without:.3f} |")


if __name__ == "__main__":
    main()
