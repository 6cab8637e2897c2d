"""`python -m benchmarks.telemetry`: CPU that metrics and traces cost the router, in alternating runs."""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from benchmarks.output import Output
from benchmarks.workspace import workspace

from support.load import Plan, load
from support.mosquitto import Mosquitto, free_port
from support.otlp import Collector, collector
from support.process_meter import usage
from support.router import router

BROKER: Final = ("max_queued_messages 0", "max_inflight_messages 65535", "log_type error")
VARIANTS: Final = ("nothing", "a scrape a second", "OTLP, one batch in ten", "OTLP, every batch", "OTLP, dead collector", "expect")


@asynccontextmanager
async def scraped(port: int) -> AsyncIterator[None]:
    """Scrape a router once a second."""

    async def scrape() -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
                    await response.read()
                await asyncio.sleep(1)

    task = asyncio.create_task(scrape())
    try:
        yield
    finally:
        task.cancel()


def telemetry(variant: str, found: Collector) -> dict[str, Any]:
    """Return the section `telemetry` of a variant."""
    if not variant.startswith("OTLP"):
        return {}
    endpoint = "http://127.0.0.1:1" if variant.endswith("dead collector") else found.url
    ratio = 0.1 if variant.endswith("ten") else 1
    return {"otel": {"endpoint": endpoint, "sample_ratio": ratio, "metrics_interval": "1s"}}


async def measure(folder: Path, variant: str, messages: int, rate: float | None) -> float:
    """Return microseconds of CPU a message."""
    admin = free_port()
    async with collector() as found:
        with Mosquitto(folder / "broker", BROKER) as broker:
            source: dict[str, Any] = {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"]}
            if variant == "expect":
                source["expect"] = {"sensors/#": "60s"}
            config = {
                "sources": {"local": source},
                "sinks": {"out": {"type": "file", "path": str(folder / "out"), "rotate": {"size": "1TiB"}}},
                "log": {"level": "error"},
                "shutdown": {"grace": "0s"},
                "admin": {"listen": f"127.0.0.1:{admin}"},
                "telemetry": telemetry(variant, found),
            }
            output = Output(folder / "out")
            async with router(folder, config, fresh=True) as process, AsyncExitStack() as stack:
                await process.start()
                if variant == VARIANTS[1]:
                    await stack.enter_async_context(scraped(admin))
                    await asyncio.sleep(1.5)  # the first scrape imports what scraping needs
                before = usage(process.pid)
                async with load(Plan(broker.port, messages=messages, rate=rate)) as publisher:
                    await output.until(messages, 300)
                    await publisher.finish()
                spent = usage(process.pid) - before
    return spent.cpu_seconds / messages * 1e6


def main() -> None:
    """Measure and print medians and their ratio to a router without any of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=None, help="messages a second; as fast as possible by default")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    options = parser.parse_args()
    runs: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in range(options.rounds):
        for variant in VARIANTS:
            with workspace(options.folder) as path:
                runs[variant].append(asyncio.run(measure(path, variant, options.messages, options.rate)))
    plain = statistics.median(runs[VARIANTS[0]])
    print("| variant | us of CPU a message | ratio |\n|---|---:|---:|")
    for variant, found in runs.items():
        middle = statistics.median(found)
        print(f"| {variant} | {middle:.2f} | {middle / plain:.3f} |")


if __name__ == "__main__":
    main()
