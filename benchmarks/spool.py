"""Cost of the spool: microseconds per message to append, take and settle, and bytes on disk per message."""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path

from benchmarks.workspace import workspace

from edgerouter.config.model import SpoolConfig
from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Route
from edgerouter.topics import Matcher
from support.spools import take_some


def readings(count: int) -> list[Message]:
    """Build messages of about 200 bytes, as sensors send them."""
    rng = random.Random(1)
    messages = []
    for n in range(count):
        body = {
            "device": f"dev-{n % 50:03d}",
            "time": 1_790_000_000_000 + n * 13,
            "temperature": round(rng.gauss(21, 3), 2),
            "humidity": round(rng.random() * 100, 1),
            "pressure": round(rng.gauss(1013, 5), 2),
            "battery": round(rng.random() * 4, 3),
            "vibration": [round(rng.gauss(0, 1), 3) for _ in range(5)],
            "status": "ok",
            "firmware": "1.4.2",
        }
        at = 1_790_000_000_000_000_000 + n * 1_300_000 + rng.randrange(10**6)
        messages.append(Message(f"plant/line-{n % 50:03d}/env", json.dumps(body).encode(), at, 1))
    return messages


def config(folder: Path, synchronous: str = "full") -> SpoolConfig:
    """Configure a spool with its defaults, except that nothing waits."""
    return SpoolConfig.model_validate({"path": folder, "commit_interval": 0, "min_free_bytes": 0, "synchronous": synchronous})


async def walk(folder: Path, chunk: int, messages: list[Message]) -> None:
    """Append, take and settle, and print the CPU of each in all threads."""
    routes = [Route("all", ("#",), Matcher(["#"])), Route("some", ("plant/line-00+/env",), Matcher(["plant/line-001/env"]))]
    async with open_spool(config(folder)) as spool:
        every, some = [await spool.attach(route) for route in routes]
        append = take = settle = 0.0
        wall = time.perf_counter()
        for at in range(0, len(messages), chunk):
            part = messages[at : at + chunk]
            wanted = {"all": len(part), "some": sum(m.topic == "plant/line-001/env" for m in part)}
            before = time.process_time()
            await spool.append("source", Delivery(part, lambda: None), wanted)
            append += time.process_time() - before
            before = time.process_time()
            batch = every.take(chunk)
            take += time.process_time() - before
            before = time.process_time()
            every.delivered(batch)
            settle += time.process_time() - before
            some.delivered(some.take(chunk))
        before = time.process_time()
        await spool.flush()
        settle += time.process_time() - before
        wall = time.perf_counter() - wall
        count = len(messages)
        print(
            f"chunks of {chunk:4d}: append {append / count * 1e6:7.3f}  take {take / count * 1e6:6.3f}  "
            f"settle {settle / count * 1e6:6.3f} us CPU a message, {count / wall:9.0f} messages/s with full sync"
        )


def database_bytes(folder: Path) -> int:
    """Return the bytes of the messages on disk, without the write-ahead log and the reserve, which do not grow with them."""
    return (folder / "spool.db").stat().st_size


async def drain(folder: Path, chunk: int, messages: list[Message]) -> None:
    """Store a backlog, reopen it, read it all; print bytes on disk and the rate."""
    route = Route("all", ("#",), Matcher(["#"]))
    async with open_spool(config(folder, "normal")) as spool:
        await spool.attach(route)
        for at in range(0, len(messages), chunk):
            part = messages[at : at + chunk]
            await spool.append("source", Delivery(part, lambda: None), {"all": len(part)})
    size = database_bytes(folder)
    payload = sum(len(m.payload) for m in messages)
    started = time.perf_counter()
    async with open_spool(config(folder, "normal")) as spool:
        reader = await spool.attach(route)
        opened = time.perf_counter() - started
        before = time.process_time()
        left = len(messages)
        started = time.perf_counter()
        while left:
            batch = await take_some(reader, 1000)
            left -= len(batch)
            reader.delivered(batch)
        wall = time.perf_counter() - started
        cpu = time.process_time() - before
    print(
        f"chunks of {chunk:4d}: {size / len(messages):6.1f} bytes on disk a message of {payload / len(messages):.0f}; opened in "
        f"{opened * 1e3:.0f} ms; drained at {len(messages) / wall:.0f} messages/s, {cpu / len(messages) * 1e6:.2f} us CPU a message"
    )


def main() -> None:
    """Run all, in a temporary folder beside this file's checkout so that it is a real disk."""
    messages = readings(200_000)
    for chunk, count in ((500, 200_000), (1, 3_000)):
        with workspace(Path(__file__).parent) as folder:
            asyncio.run(walk(folder, chunk, messages[:count]))
    for chunk, count in ((500, 200_000), (1, 20_000)):
        with workspace(Path(__file__).parent) as folder:
            asyncio.run(drain(folder, chunk, messages[:count]))


if __name__ == "__main__":
    main()
