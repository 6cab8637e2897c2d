"""`python -m benchmarks.start`: from the start of the process to the first acknowledged message, and what its memory holds."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import yaml
from benchmarks import aws, azure
from benchmarks.null_service import serving
from benchmarks.workspace import workspace

from support.mosquitto import Mosquitto
from support.process_meter import usage

STEPS = {0x10: "CONNECT", 0x20: "CONNACK", 0x82: "SUBSCRIBE", 0x90: "SUBACK", 0x40: "PUBACK"}
"""First byte of the packets whose times are taken, in their order."""
PROGRAM = Path(sys.executable).with_name("edgerouter")
PATIENCE = 60.0
SETTLES = 7.0
"""Seconds after which the router has given back what only its start needed."""
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)")


@dataclass(slots=True)
class Line:
    """A connection to the broker that notes when the first packet of each kind passes."""

    broker: int
    seen: dict[str, float] = field(default_factory=dict)
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what one client and the broker send."""
        there, back = await asyncio.open_connection("127.0.0.1", self.broker)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        writer.close()
        back.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(2)
                while head[-1] & 128:
                    head += await reader.readexactly(1)
                length = sum([(byte & 127) << 7 * place for place, byte in enumerate(head[1:])])
                name = STEPS.get(head[0], "")
                if name:
                    self.seen.setdefault(name, time.monotonic())
                writer.write(head + await reader.readexactly(length))
                if name == "PUBACK":
                    self.acknowledged.set()
        finally:
            writer.close()


@dataclass(frozen=True, slots=True)
class Start:
    """One start."""

    seconds: Mapping[str, float]
    """From the start of the process until the first packet of each kind."""
    cpu_seconds: float
    """Until the first acknowledgement; other load on the machine changes it less than the times."""
    rss_bytes: int
    memory: Mapping[str, int]
    """Resident bytes by what is mapped."""


def memory(pid: int) -> dict[str, int]:
    """Sum the resident bytes of a process by what is mapped: files by their package, and memory without a file."""
    found: dict[str, int] = {}
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if mapping := _MAPPING.match(line):
            name = _name(mapping[1])
        elif line.startswith("Rss:"):
            found[name] = found.get(name, 0) + int(line.split()[1]) * 1024
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _name(path: str) -> str:
    if path.startswith("[") or not path:
        return "heap and anonymous memory" if path in {"", "[heap]"} else path
    _, installed, rest = path.partition("/site-packages/")
    return rest.partition("/")[0] if installed else Path(path).name


@contextlib.asynccontextmanager
async def cloud_sinks() -> AsyncIterator[dict[str, Any]]:
    """Run services that accept everything, and yield the configuration of one sink of each kind, which gets no message."""
    async with serving("benchmarks.aws") as amazon, serving("benchmarks.gcp") as google, azure.serving() as ports:
        idle = {"topics": ["nothing/#"]}
        at_aws = {"endpoint_url": amazon, "probe": False, **aws.KEYS, **idle}
        at_google = {"endpoint": google, "anonymous": True, **idle}
        blobs = {"account": "plant", "account_key": "a2V5", "endpoint": f"http://127.0.0.1:{ports.blob}/plant", **idle}
        yield {
            "queue": {"type": "aws-sqs", "queue": "plant", "account_id": "123456789012", **at_aws},
            "bucket": {"type": "aws-s3", "bucket": "plant", "addressing": "path", **at_aws},
            "events": {"type": "azure-event-hubs", "connection_string": ports.connection_string(ports.amqp), **idle},
            "blobs": {"type": "azure-blob", "container": "bench", **blobs},
            "telemetry": {"type": "gcp-pubsub", "topic": "projects/plant/topics/bench", **at_google},
            "objects": {"type": "gcp-storage", "bucket": "plant", **at_google},
        }


async def start(program: Path, config: Path, line: Line) -> Start:
    """Start a router, wait for its first acknowledgement, look at its memory once it is at rest, and end it."""
    line.seen, line.acknowledged = {}, asyncio.Event()
    # an installation is compiled; where the first start may write, the others find what it has compiled
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(program, "run", "-c", str(config), env=environment)
    try:
        await asyncio.wait_for(line.acknowledged.wait(), PATIENCE)
        cpu = usage(process.pid).cpu_seconds
        await asyncio.sleep(SETTLES)
        rss, mapped = usage(process.pid).rss_bytes, memory(process.pid)
    finally:
        process.terminate()
        await process.wait()
    return Start({name: at - began for name, at in line.seen.items()}, cpu, rss, mapped)


async def measure(program: Path, runs: int, folder: Path, sinks: Mapping[str, Any]) -> list[Start]:
    """Start a router a number of times on one spool and one session at the broker, which holds a message for it each time.

    A first start makes both, and caches files; it does not count.
    """
    config = folder / "edgerouter.yaml"
    starts: list[Start] = []
    with Mosquitto(folder / "broker", ("log_type error",)) as broker:
        line = Line(broker.port)
        async with await asyncio.start_server(line.serve, "127.0.0.1", 0) as server:
            url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            config.write_text(yaml.safe_dump(_config(url, folder, sinks)))
            while len(starts) <= runs:
                async with aiomqtt.Client("127.0.0.1", broker.port) as client:
                    await client.publish("sensors/one", b"{}", qos=1, retain=True)
                starts.append(await start(program, config, line))
    return starts[1:]


def _config(url: str, folder: Path, sinks: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sources": {"local": {"type": "mqtt", "url": url, "topics": ["sensors/#"]}},
        "spool": {"path": str(folder / "spool")},
        "sinks": {"file": {"type": "file", "path": str(folder / "out")}, **sinks},
        "log": {"level": "warning"},
    }


def report(starts: list[Start]) -> Iterator[str]:
    """Yield the lines of two tables."""
    yield "| milliseconds from the start of the process | median | least |\n|---|---:|---:|"
    for name in sorted(starts[0].seconds.keys() & STEPS.values(), key=starts[0].seconds.__getitem__):
        took = [run.seconds[name] * 1e3 for run in starts]
        yield f"| {name} | {statistics.median(took):.0f} | {min(took):.0f} |"
    spent = [run.cpu_seconds * 1e3 for run in starts]
    yield f"| CPU until PUBACK | {statistics.median(spent):.0f} | {min(spent):.0f} |"
    last = starts[-1]
    yield "\n| resident memory | MB |\n|---|---:|"
    yield f"| all | {statistics.median([run.rss_bytes for run in starts]) / 1e6:.1f} |"
    large = {name: size for name, size in last.memory.items() if size >= 300_000}
    for name, size in large.items():
        yield f"| {name} | {size / 1e6:.1f} |"
    yield f"| everything else | {(sum(last.memory.values()) - sum(large.values())) / 1e6:.1f} |"


async def measured(runs: int, folder: Path, *, clouds: bool, program: Path = PROGRAM) -> list[Start]:
    """Start a router a number of times, with a sink of each cloud service or without."""
    with workspace(folder) as path:
        async with contextlib.AsyncExitStack() as stack:
            sinks = await stack.enter_async_context(cloud_sinks()) if clouds else {}
            return await measure(program, runs, path, sinks)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-start", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="starts, of which the median counts (7)")
    parser.add_argument("--clouds", action="store_true", help="with a sink of each cloud service beside the file")
    parser.add_argument(
        "--program", type=Path, default=PROGRAM, help="program of another environment, without development's packages"
    )
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where everything is written (/var/tmp)")
    options = parser.parse_args()
    starts = asyncio.run(measured(options.runs, options.folder, clouds=options.clouds, program=options.program))
    print("\n".join(report(starts)))


if __name__ == "__main__":
    main()
