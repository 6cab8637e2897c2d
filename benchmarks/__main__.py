"""`python -m benchmarks`: edgerouter, its floor and plain aiomqtt, its start, the HTTP source, every cloud sink and the steps."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop
from benchmarks import bills, http_source, sinks, start, steps, targets
from benchmarks.measure import Idle, Latency, Throughput, idle, latency, throughput
from benchmarks.report import Results, environment
from benchmarks.subjects import Name

OTHERS = """\
other benchmarks, each with --help in ARGS:
  make bench-backlog     start with a large backlog, drain it, and serve live messages meanwhile
  make bench-cloudsync   times of CloudSync's answers at a rate, while one of five brokers swallows everything
  make bench-isolation   what a black-holed sink changes for the one beside it
  make bench-jetstream   a spool on JetStream: messages a second and CPU of the router, on one server and on three
  make bench-peers       edgerouter beside other programs that do its work: cost, latency, losses
  make bench-scale       CPU a message against backlog, topics, sinks, payload and steps
  make bench-start       from the start of the process to the first acknowledged message, and what its memory holds
  make bench-week        days offline at 10 messages/s: bytes on disk a message, start, memory
"""
SUBJECTS: tuple[Name, ...] = ("baseline", "before", "edgerouter", "floor")
VARIANTS: tuple[Name, ...] = ("edgerouter", "QoS 2", "MQTT 3.1.1")
VARIANTS_RATE = 8000.0
"""Messages a second at which all brokers keep up with QoS 2."""


async def measure(
    *, messages: int, rounds: int, rates: list[float], seconds: float, qos_levels: list[int], folder: Path, older: Path | None
) -> Results:
    """Run the subjects alternately, so that other load on the machine affects all alike."""
    throughputs: list[Throughput] = []
    latencies: list[Latency] = []
    idles: list[Idle] = []
    variants: list[Latency] = []
    for qos in qos_levels:
        # the floor reads QoS 1 alone
        subjects = [name for name in SUBJECTS if (qos == 1 or name != "floor") and (older is not None or name != "before")]
        for number in range(rounds):
            for name in subjects:
                print(f"QoS {qos}, round {number + 1} of {rounds}: {name}", file=sys.stderr)
                throughputs.append(await throughput(name, qos, messages, folder, older=older))
        for rate in rates:
            for name in subjects:
                print(f"QoS {qos}, {rate:g} messages/s: {name}", file=sys.stderr)
                latencies.append(await latency(name, qos, rate, seconds, folder, older=older))
        for name in subjects:
            print(f"QoS {qos}, idle: {name}", file=sys.stderr)
            idles.append(await idle(name, qos, seconds, folder, older=older))
    for name in VARIANTS:
        print(f"{VARIANTS_RATE:g} messages/s: {name}", file=sys.stderr)
        variants.append(await latency(name, 1, VARIANTS_RATE, seconds, folder))
    return Results(throughputs, latencies, idles, variants)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, epilog=OTHERS)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="under two minutes, less exact")
    parser.add_argument("--only", choices=("walk", "start", "http", "sinks", "steps"), help="only this part")
    parser.add_argument("--messages", type=int, help="messages of a throughput run (100000, quick 20000)")
    parser.add_argument("--rounds", type=int, help="throughput runs of each subject, of which the median counts (3, quick 1)")
    parser.add_argument("--rate", type=float, action="append", help="messages a second while latency is measured (1000, 100, 10)")
    parser.add_argument("--seconds", type=float, help="how long latency is measured (15, quick 4)")
    parser.add_argument("--qos", type=int, choices=(0, 1), action="append", help="only this quality of service (both)")
    parser.add_argument("--sink-messages", type=int, help="messages through each cloud sink (20000, quick 5000)")
    parser.add_argument("--starts", type=int, help="starts with and without cloud sinks, of which the median counts (5, quick 2)")
    parser.add_argument("--requests", type=int, help="requests to the HTTP source in each case (50000, quick 5000)")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where everything is written (/var/tmp)")
    parser.add_argument("--before", type=Path, metavar="VENV", help="environment of an older edgerouter that takes its turns too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number to this file")
    return parser.parse_args()


def main() -> None:
    """Measure, print tables, and write JSON if requested."""
    options = arguments()
    content: dict[str, Any] = {"environment": environment()}
    compared: list[targets.Target] = []
    if options.only in {None, "walk"}:
        results = asyncio.run(
            measure(
                messages=options.messages or (20_000 if options.quick else 100_000),
                rounds=options.rounds or (1 if options.quick else 3),
                rates=options.rate or ([1000] if options.quick else [1000, 100, 10]),
                seconds=options.seconds or (4 if options.quick else 15),
                qos_levels=sorted(set(options.qos or (1, 0)), reverse=True),
                folder=options.folder,
                older=options.before,
            )
        )
        print(results.as_markdown())
        content |= results.as_content()
        compared += targets.of_walk(results)
    if options.only in {None, "start"}:
        starts = [
            asyncio.run(start.measured(options.starts or (2 if options.quick else 5), options.folder, clouds=clouds))
            for clouds in (False, True)
        ]
        print("\n".join(start.report(starts[0])), end="\n\n")
        content["starts"] = [[asdict(each) for each in runs] for runs in starts]
        compared += targets.of_starts(*starts)
    if options.only in {None, "http"}:
        requests = asyncio.run(http_source.measure_all(options.requests or (5_000 if options.quick else 50_000), options.folder))
        print(http_source.as_markdown(requests))
        content["http_source"] = [asdict(row) for row in requests]
    if options.only in {None, "sinks"}:
        # on the router's event loop
        rows = uvloop.run(sinks.measure(options.sink_messages or (5_000 if options.quick else 20_000)))
        print(sinks.as_markdown(rows))
        content["sinks"] = [asdict(row) for row in rows]
        compared += targets.of_sinks(rows)
        billed = uvloop.run(bills.measure())
        print(bills.as_markdown(billed))
        content["bills"] = [asdict(bill) for bill in billed]
    if options.only in {None, "steps"}:
        shaping = steps.measure(5_000 if options.quick else 20_000)
        print(steps.as_markdown(shaping))
        content["steps"] = [asdict(row) for row in shaping]
    if compared:
        print(targets.as_markdown(compared))
        content["targets"] = [{**asdict(target), "met": target.met} for target in compared]
    print(", ".join(f"{name} {value}" for name, value in environment().items()))
    if options.json:
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
