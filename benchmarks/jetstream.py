"""Cost of the spool on JetStream: messages a second through append, and CPU of the router for each message.

The single server syncs always. At the end nodes and routers are killed, and the time until the spool works again is measured.
`make bench-jetstream`; `benchmarks/spool.py` measures SQLite's spool with the same messages.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import structlog
import uvloop
from benchmarks import recovery
from benchmarks.spool import readings
from benchmarks.workspace import workspace

from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool.contract import Route
from edgerouter.topics import Matcher
from edgerouter_nats.spool.spool import JetStreamSpool
from support.nats.cluster import NatsCluster, NatsServer
from support.nats.spools import opened
from support.spools import take_some

_IN_FLIGHT = 4
"""Deliveries that wait at once, as several sources have them."""


async def append(spool: JetStreamSpool, messages: Sequence[Message], chunk: int, sinks: Sequence[str]) -> tuple[float, float]:
    """Append everything; return seconds and seconds of CPU."""
    wanted = dict.fromkeys(sinks, chunk)
    waiting: deque[asyncio.Task[None]] = deque()
    wall, cpu = time.perf_counter(), time.process_time()
    for at in range(0, len(messages), chunk):
        delivery = Delivery(messages[at : at + chunk], lambda: None)
        waiting.append(asyncio.create_task(spool.append("source", delivery, wanted), name="append"))
        if len(waiting) >= _IN_FLIGHT:
            await waiting.popleft()
    while waiting:
        await waiting.popleft()
    return time.perf_counter() - wall, time.process_time() - cpu


async def drain(spool: JetStreamSpool, sink: str, count: int) -> tuple[float, float]:
    """Take and settle everything that waits for a sink; return seconds and seconds of CPU."""
    reader = await spool.attach(Route(sink, ("#",), Matcher(["#"])))
    wall, cpu = time.perf_counter(), time.process_time()
    while count:
        batch = await take_some(reader, 1000)
        count -= len(batch)
        reader.delivered(batch)
    await spool.flush()
    return time.perf_counter() - wall, time.process_time() - cpu


def shown(what: str, count: int, took: tuple[float, float]) -> str:
    """Return a line of the result."""
    wall, cpu = took
    return f"{what:<58} {count / wall:9.0f} messages/s {cpu / count * 1e6:7.2f} us CPU a message in the router"


async def measure(servers: Sequence[str], replicas: int, messages: Sequence[Message], chunk: int) -> None:
    """Append while one sink reads along; then drain a backlog in another process's place."""
    count = len(messages)
    name = f"BENCH-{replicas}-{chunk}"
    async with opened(servers, name, replicas=replicas, max_bytes=1024**3, commit_interval=0.02, cache_bytes=1024**2) as spool:
        await spool.attach(Route("later", ("#",), Matcher(["#"])))
        print(shown(f"R{replicas}, deliveries of {chunk}: append", count, await append(spool, messages, chunk, ["later"])))
        print(shown(f"R{replicas}, deliveries of {chunk}: drain a backlog", count, await drain(spool, "later", count)))
        walked = await asyncio.gather(append(spool, messages, chunk, ["later"]), drain(spool, "later", count))
        print(shown(f"R{replicas}, deliveries of {chunk}: append, take and settle at once", count, (walked[1][0], walked[1][1])))


def main() -> None:
    """Run with one server that syncs always, and with a cluster of three."""
    parser = argparse.ArgumentParser(prog="make bench-jetstream", description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000, help="messages of 200 bytes")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    messages = readings(parser.parse_args().messages)
    with workspace(Path(__file__).parent) as folder:
        with NatsServer(folder / "one") as server:
            for chunk, share in ((500, 1), (50, 4), (1, 60)):
                uvloop.run(measure([server.url], 1, messages[: len(messages) // share], chunk))
        with NatsCluster(folder / "three") as cluster:
            uvloop.run(measure(cluster.urls, 3, messages, 500))
        uvloop.run(recovery.measure(folder))


if __name__ == "__main__":
    main()
