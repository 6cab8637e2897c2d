"""`python -m benchmarks.scale`: CPU a message against backlog, topics, sinks, payload and steps; exponents of growth, and plots."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.backlog import fill
from benchmarks.growth import Curve, Point
from benchmarks.output import Output
from benchmarks.peers.arrived import CHARACTERS
from benchmarks.report import environment
from benchmarks.subjects import BROKER
from benchmarks.svg import plot
from benchmarks.workspace import workspace

from support.forking import end_zygote
from support.load import Plan, load, topics
from support.mosquitto import Mosquitto
from support.process_meter import TICK, usage
from support.router import RouterProcess, router

PATIENCE = 60.0
"""Seconds without a new message after which a measurement has failed."""
MESSAGES = 40_000
"""Enough for a CPU time that is measured in steps of 10 ms."""
SINK_TOPICS = topics(100)
MOST_BYTES = 96 << 20
"""Payload of one measurement."""
MOST_IN_FLIGHT = 8 << 20
FEWEST_MESSAGES = 90
ROUNDS = 2
AWAY = {"type": "http", "url": "http://127.0.0.1:1/"}
FAR_AWAY = {"type": "mqtt", "url": "mqtt://127.0.0.1:1"}
"""Sinks that cannot reach their service, of two types, so that a reload shows in the status."""
DIRECTORY = {"type": "file", "rotate": {"size": "1TiB"}}


def _config(port: int, folder: Path, sinks: dict[str, Any]) -> dict[str, Any]:
    return {
        "sources": {"local": {"type": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "topics": ["sensors/#"]}},
        "spool": {"path": str(folder / "spool"), "max_bytes": 1 << 40},
        "sinks": sinks,
        "log": {"level": "error"},
    }


def _file(folder: Path, name: str, **settings: Any) -> dict[str, Any]:
    return {**DIRECTORY, "path": str(folder / name), **settings}


@asynccontextmanager
async def _routing(folder: Path, sinks: dict[str, Any]) -> AsyncIterator[tuple[RouterProcess, int]]:
    """Start a broker and a router; yield the router and the broker's port."""
    with Mosquitto(folder / "broker", BROKER) as broker:
        async with router(folder, _config(broker.port, folder, sinks)) as process:
            await process.start()
            yield process, broker.port


async def _cost(process: RouterProcess, plan: Plan, outputs: Sequence[tuple[Output, int]], size: float) -> Point:
    """Publish as fast as the broker accepts; each output gets so many messages of each plan."""
    before = usage(process.pid)
    async with load(plan) as publishing:
        ended = max([await output.until(output.lines + count, PATIENCE) for output, count in outputs])
        report = await publishing.finish()
    used = usage(process.pid) - before
    return Point(size, used.cpu_seconds / report.sent * 1e6, report.sent / (ended - report.started_at))


async def backlogs(sizes: Sequence[int], folder: Path) -> list[Curve]:
    """Measure live messages beside the backlog of a sink that cannot be reached, then the drain of that backlog."""
    live, drained = zip(*[await _backlog(size, folder) for size in sizes], strict=True)
    return [
        Curve("backlog-live", "Live messages beside a backlog", "pending messages of another sink", "flat", live),
        Curve("backlog-drain", "Draining a backlog", "messages", "flat", drained),
    ]


async def _backlog(size: int, folder: Path) -> tuple[Point, Point]:
    with workspace(folder) as path:
        await fill(path / "spool", size, "held")
        sinks = {"live": _file(path, "live"), "held": AWAY}
        async with _routing(path, sinks) as (process, port):
            plan = Plan(port, messages=MESSAGES, characters=CHARACTERS)
            live = await _cost(process, plan, [(Output(path / "live"), MESSAGES)], size)
        # a new process, because the last messages of the other are in memory
        async with _routing(path, sinks) as (process, port):
            for held in (FAR_AWAY, AWAY):
                reload = await _reload(process, _config(port, path, sinks | {"held": held}))
            before, began = usage(process.pid), time.time()
            await _reload(process, _config(port, path, sinks | {"held": _file(path, "held")}))
            ended = await Output(path / "held").until(size + MESSAGES, PATIENCE)
            used = max((usage(process.pid) - before).cpu_seconds - reload, TICK)
    count = size + MESSAGES
    return live, Point(count, used / count * 1e6, count / (ended - began))


async def _reload(process: RouterProcess, config: dict[str, Any]) -> float:
    """Give the router a configuration with another sink for the backlog; return the CPU seconds until it runs."""
    before = usage(process.pid)
    kind = config["sinks"]["held"]["type"]
    process.write(config)
    os.kill(process.pid, signal.SIGHUP)
    await process.until(lambda status: status["sinks"]["held"]["type"] == kind)
    return (usage(process.pid) - before).cpu_seconds


async def _cheapest(measure: Callable[[], Awaitable[Point]]) -> Point:
    """Measure several times; other load on the machine makes a run dearer, and never cheaper."""
    return min([await measure() for _ in range(ROUNDS)], key=lambda point: point.cpu_us_a_message)


async def many_topics(counts: Sequence[int], folder: Path) -> list[Curve]:
    """Measure messages on more and more topics, each at least twice."""

    def plan(count: int, port: int) -> Plan:
        return Plan(port, topics=topics(count), messages=max(MESSAGES, 2 * count), characters=CHARACTERS)

    points = [await _cheapest(partial(_alone, partial(plan, count), count, folder)) for count in counts]
    return [Curve("topics", "Topics", "topics", "flat", points)]


async def _alone(plan: Callable[[int], Plan], size: float, folder: Path, **settings: Any) -> Point:
    """Measure one sink that wants everything."""
    with workspace(folder) as path:
        async with _routing(path, {"out": _file(path, "out", **settings)}) as (process, port):
            made = plan(port)
            assert made.messages is not None
            return await _cost(process, made, [(Output(path / "out"), made.messages)], size)


async def many_sinks(counts: Sequence[int], folder: Path) -> list[Curve]:
    """Measure more and more sinks, each of which wants every message, or its share of the topics."""
    every = [await _cheapest(partial(_sinks, count, folder, share=False)) for count in counts]
    shared = [await _cheapest(partial(_sinks, count, folder, share=True)) for count in counts]
    return [
        Curve("sinks", "Sinks that want every message", "sinks", "linear", every),
        Curve("sinks-shared", "Sinks that share the topics", "sinks", "flat", shared),
    ]


async def _sinks(count: int, folder: Path, *, share: bool) -> Point:
    messages = MESSAGES if share else MESSAGES // 2
    with workspace(folder) as path:
        wanted = [SINK_TOPICS[number::count] if share else ("sensors/#",) for number in range(count)]
        sinks = {f"out{number}": _file(path, f"out{number}", topics=list(filters)) for number, filters in enumerate(wanted)}
        expected = [messages * len(filters) // len(SINK_TOPICS) if share else messages for filters in wanted]
        async with _routing(path, sinks) as (process, port):
            plan = Plan(port, topics=SINK_TOPICS, messages=messages, characters=CHARACTERS)
            outputs = [(Output(path / name), number) for name, number in zip(sinks, expected, strict=True)]
            return await _cost(process, plan, outputs, count)


async def payloads(sizes: Sequence[int], folder: Path) -> list[Curve]:
    """Measure larger and larger payloads of random characters."""

    def plan(size: int, port: int) -> Plan:
        messages = max(FEWEST_MESSAGES, min(MESSAGES, MOST_BYTES // size))
        window = max(4, min(1000, MOST_IN_FLIGHT // size))
        return Plan(port, messages=messages, window=window, payload_bytes=size, characters=CHARACTERS)

    points = [await _cheapest(partial(_alone, partial(plan, size), size, folder)) for size in sizes]
    return [Curve("payload", "Payload", "bytes of a payload", "linear", points)]


async def many_steps(most: int, folder: Path) -> list[Curve]:
    """Measure more and more steps: an envelope, and then tags in the document that it makes."""
    steps = [{"type": "envelope"}, *({"type": "tags", "tags": {f"level{number}": "{topic[1]}"}} for number in range(1, most))]

    def plan(port: int) -> Plan:
        return Plan(port, messages=MESSAGES, characters=CHARACTERS)

    points = [await _cheapest(partial(_alone, plan, count, folder, steps=steps[:count])) for count in range(1, most + 1)]
    return [Curve("steps", "Steps", "steps", "linear", points)]


def powers(first: int, last: int) -> list[int]:
    """Return the powers of ten from `10**first` to below half of `last`, and `last` itself."""
    return [*(10**power for power in range(first, len(str(last))) if 2 * 10**power <= last), last]


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    described = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    described.add_argument(
        "--only", action="append", choices=("backlog", "topics", "sinks", "payload", "steps"), help="only this; may be repeated"
    )
    described.add_argument("--backlog", type=int, default=10**6, help="largest backlog (1000000; 10000000 takes minutes more)")
    described.add_argument("--topics", type=int, default=10**5, help="most topics (100000)")
    described.add_argument("--sinks", type=int, default=20, help="most sinks (20)")
    described.add_argument("--payload", type=int, default=1 << 20, help="largest payload in bytes (1048576)")
    described.add_argument("--steps", type=int, default=5, help="most steps (5)")
    described.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where everything is written (/var/tmp)")
    described.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to this file too")
    described.add_argument("--plots", type=Path, metavar="FOLDER", help="write a plot of each curve to this folder, as SVG")
    return described


def measurements(options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Return the measurements by name."""
    sinks = [count for count in (1, 2, 5, 10, 20, 50) if count <= options.sinks]
    every = {
        "backlog": partial(backlogs, powers(4, options.backlog), options.folder),
        "topics": partial(many_topics, powers(1, options.topics), options.folder),
        "sinks": partial(many_sinks, sinks, options.folder),
        "payload": partial(payloads, powers(1, options.payload), options.folder),
        "steps": partial(many_steps, options.steps, options.folder),
    }
    return {name: measure for name, measure in every.items() if not options.only or name in options.only}


async def measure(options: argparse.Namespace) -> list[Curve]:
    """Measure every curve; one that fails is reported, and the next one is measured."""
    curves: list[Curve] = []
    for name, make in measurements(options).items():
        print(f"{name} ...", file=sys.stderr)
        try:
            curves += await make()
        except (TimeoutError, RuntimeError, OSError) as error:
            print(f"{name}: failed: {error}", file=sys.stderr)
    return curves


def as_markdown(curves: Sequence[Curve], plots: str | None) -> str:
    """Format the machine, a summary of the exponents, and every curve, with its plot in a folder beside the page."""
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    faster = [f"{curve.title} (exponent {curve.exponent:.2f}, {curve.expected} expected)" for curve in curves if not curve.holds]
    blocks = [f"`make bench-scale` on {machine}.", f"Grows faster than expected: {', '.join(faster) or 'nothing'}."]
    for curve in curves:
        blocks.append("\n".join(curve.lines()))
        if plots is not None:
            blocks.append(f"![{curve.title}]({plots}/{curve.name}.svg)")
    return "\n\n".join(blocks) + "\n"


def main() -> None:
    """Measure, print and plot."""
    options = parser().parse_args()
    try:
        curves = asyncio.run(measure(options))
    finally:
        end_zygote()
    text = as_markdown(curves, options.plots.name if options.plots else None)
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        for curve in curves:
            (options.plots / f"{curve.name}.svg").write_text(plot(curve))


if __name__ == "__main__":
    main()
