"""`python -m benchmarks.week`: days offline at a low rate: bytes per message by cause, then start and memory of a router."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw
from benchmarks.workspace import workspace

from edgerouter import Delivery, Message
from edgerouter.config.model import SpoolConfig
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Route
from support.mosquitto import Mosquitto
from support.process_meter import usage
from support.router import router

COMMIT_INTERVAL = SpoolConfig.model_fields["commit_interval"].default
TOPICS = 50
SINK = "cloud"


@dataclass(frozen=True, slots=True)
class Week:
    """Load on the device."""

    days: float
    rate: float
    """Messages a second, at random moments, independent of each other."""
    size: int
    """Bytes of a payload."""
    random_bytes: bool
    """Payloads that do not compress, instead of JSON readings."""

    @property
    def messages(self) -> int:
        """Total number of messages."""
        return round(self.days * 86_400 * self.rate)

    def groups(self) -> Iterator[list[Message]]:
        """Yield the messages as intake groups them: one is stored at once, those of the next `commit_interval` together."""
        dice = random.Random(1)
        clock = 1_795_168_800.0
        open_until = 0.0
        gathered: list[Message] = []
        for number in range(self.messages):
            clock += dice.expovariate(self.rate)
            if gathered and clock >= open_until:
                yield gathered
                gathered = []
                open_until += COMMIT_INTERVAL
            if not gathered and clock >= open_until:
                open_until = clock + COMMIT_INTERVAL
                yield [self._message(number, clock, dice)]
                continue
            gathered.append(self._message(number, clock, dice))
        if gathered:
            yield gathered

    def _message(self, number: int, clock: float, dice: random.Random) -> Message:
        topic = f"plant/line-{number % TOPICS:03}/environment"
        if self.random_bytes:
            payload = dice.randbytes(self.size)
        else:
            # as sensors write: names repeat, digits do not
            text = (
                f'{{"device": "dev-{number % TOPICS:03}", "time": {int(clock * 1000)}, "temperature": {dice.gauss(21, 3):.2f}, '
                f'"humidity": {dice.random() * 100:.1f}, "pressure": {dice.gauss(1013, 5):.2f}, '
                f'"battery": {dice.random() * 4:.3f}, "status": "ok", "firmware": "1.4.2", "serial": "'
            )
            filler = max(0, self.size - len(text) - 2)
            payload = (text + dice.randbytes(filler).hex()[:filler] + '"}').encode()
        return Message(topic, payload, int(clock * 1e9), 1)


def config(folder: Path) -> SpoolConfig:
    """Configure a spool with its defaults and capacity for all; without syncs, which cost time and change nothing on disk."""
    return SpoolConfig(path=folder, max_bytes=1 << 40, min_free_bytes=0, synchronous="normal")


async def fill(week: Week, folder: Path) -> tuple[int, int]:
    """Store everything, one commit per group; return commits, and payload bytes."""
    commits = payload = done = 0
    told = time.monotonic()
    async with open_spool(config(folder)) as spool:
        await spool.attach(Route(sink=SINK, filters=("#",), matches=lambda _: True))
        for group in week.groups():
            await spool.append("local", Delivery(group, _nothing), {SINK: len(group)})
            commits += 1
            done += len(group)
            payload += sum([len(message.payload) for message in group])
            if time.monotonic() - told > 20:
                told = time.monotonic()
                print(f"{done:,} of {week.messages:,} messages", file=sys.stderr)
    return commits, payload


def _nothing() -> None:
    """Ignore acknowledgements."""


def causes(database: Path, messages: int) -> dict[str, float]:
    """Return the database's bytes per message by cause."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows, stored, raw = connection.execute("SELECT count(*), sum(length(payload)), sum(raw) FROM chunks").get
        pages, cells, unused = connection.execute(
            "SELECT count(*), sum(payload), sum(unused) FROM dbstat WHERE name = 'chunks'"
        ).get
        free = connection.execute("SELECT freelist_count FROM pragma_freelist_count").get
        size = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").get
    finally:
        connection.close()
    parts = {
        "messages as encoded, before compression": raw,
        "messages as stored, compressed": stored,
        "columns of the rows": cells - stored,
        "bytes that pages do not use": unused,
        "page and cell headers, inner pages": pages * 4096 - cells - unused,
        "free pages, for reuse": free * 4096,
        "everything else": size - (pages + free) * 4096,
        "database": size,
    }
    return {"messages in a row": messages / rows} | {f"{name}, bytes a message": value / messages for name, value in parts.items()}


async def start(folder: Path, database: Path) -> tuple[float, float, float]:
    """Start a router on the spool with an unreachable sink; return seconds until it answers, RSS and its peak in MB."""
    with Mosquitto(folder / "broker", ("log_type error",)) as broker:
        settings = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["plant/#"]}},
            "spool": {"path": str(database), "max_bytes": 1 << 40},
            "sinks": {SINK: {"type": "http", "url": "http://127.0.0.1:1/"}},
            "log": {"level": "error"},
            "shutdown": {"grace": 0},
        }
        async with router(folder, settings) as process:
            began = time.monotonic()
            await process.start()
            seconds = time.monotonic() - began
            await process.until(lambda status: status["sinks"][SINK]["state"] == "retrying")
            used = usage(process.pid)
    return seconds, used.rss_bytes / 1e6, used.peak_rss_bytes / 1e6


async def measure(week: Week, folder: Path) -> None:
    """Fill, inspect, start, and print."""
    began = time.monotonic()
    commits, payload = await fill(week, folder / "spool")
    seconds = time.monotonic() - began
    on_disk = sum(file.stat().st_size for file in (folder / "spool").iterdir() if file.is_file())
    print(f"{week.messages:,} messages of {payload / week.messages:.0f} bytes: {week.days:g} days at {week.rate:g} messages/s")
    print(f"{commits:,} commits, {week.messages / commits:.2f} messages each, stored in {seconds:.0f} s")
    print(f"{on_disk / 1e6:,.0f} MB on disk, {on_disk / week.messages:.1f} bytes a message")
    for name, value in causes(folder / "spool" / "spool.db", week.messages).items():
        print(f"{value:10.1f}  {name}")
    seconds, rss, peak = await start(folder, folder / "spool")
    print(f"a router starts on it in {seconds:.2f} s; {rss:.0f} MB RSS while its sink cannot be reached, {peak:.0f} MB at most")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-week", description=__doc__)
    parser.add_argument("--days", type=float, default=0.7, help="a tenth of a week by default; 7 takes ten times as long")
    parser.add_argument("--rate", type=float, default=10.0, help="messages a second (10)")
    parser.add_argument("--size", type=int, default=200, help="bytes of a payload (200)")
    parser.add_argument("--random", action="store_true", help="payloads that cannot be compressed")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where everything is written (/var/tmp)")
    options = parser.parse_args()
    with workspace(options.folder) as folder:
        asyncio.run(measure(Week(options.days, options.rate, options.size, options.random), folder))


if __name__ == "__main__":
    main()
