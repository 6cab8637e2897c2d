"""`python -m benchmarks.cloudsync`: times of CloudSync's answers at a rate, while one of five brokers swallows everything."""

from __future__ import annotations

import argparse
import asyncio
import json
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.http_source import listening
from benchmarks.subjects import process
from benchmarks.workspace import workspace

from support.chaos import unanswered
from support.mosquitto import Mosquitto, free_port
from support.process_meter import usage

APPS, LIVE = 20, 4
PATH = "/api/v1/orchestration/cloudsyncmgr/publish"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
_DRAIN_SECONDS = 10.0
"""Time for the last answers."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run."""

    rate: float
    answers: int
    """Of live brokers."""
    delivered: float
    """Share of them that says 200."""
    p50_ms: float
    """From the time at which a request is due until its answer has come."""
    p99_ms: float
    most_ms: float
    dead: tuple[int, ...]
    """Statuses of the answers for the dead broker."""
    cpu_us_a_request: float
    peak_rss_bytes: int


@dataclass(slots=True)
class _Exchange:
    """A request under way on a connection."""

    broker: str
    due: float
    answer: bytes = b""


class Load:
    """Sends requests at a rate whatever the answers take: each on a connection that is free, or on a new one.

    Args:
        port: of the API.
        brokers: names that requests have as `url`, by turns.
    """

    def __init__(self, port: int, brokers: Sequence[str]) -> None:
        self.found: list[tuple[str, float, int]] = []
        """Broker, seconds and status of each answer."""
        self._port = port
        self._brokers = brokers
        self._selector = selectors.DefaultSelector()
        self._free: deque[socket.socket] = deque()
        self._under_way: dict[socket.socket, _Exchange] = {}

    def run(self, rate: float, seconds: float) -> None:
        """Send for so many seconds, and wait for the last answers."""
        begin = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            self._receive_until(due)
            self._send(number, due)
        end = time.perf_counter() + _DRAIN_SECONDS
        while self._under_way and time.perf_counter() < end:
            self._receive(end - time.perf_counter())

    def _receive_until(self, due: float) -> None:
        while (left := due - time.perf_counter()) > 0:
            self._receive(left)

    def _receive(self, seconds: float) -> None:
        if not self._under_way:
            time.sleep(max(0.0, seconds))
            return
        for key, _ in self._selector.select(seconds):
            connection: socket.socket = key.fileobj  # type: ignore[assignment]  # only sockets are registered
            exchange = self._under_way[connection]
            exchange.answer += connection.recv(65_536)
            head, found, body = exchange.answer.partition(b"\r\n\r\n")
            if found and len(body) >= int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
                del self._under_way[connection]
                self._free.append(connection)
                self.found.append((exchange.broker, time.perf_counter() - exchange.due, int(head[9:12])))

    def _send(self, number: int, due: float) -> None:
        broker, app = self._brokers[number % len(self._brokers)], number % APPS
        body = json.dumps({"appid": f"app-{app}", "payload": str(number), "topic": f"plant/{app}", "url": broker})
        connection = self._free.popleft() if self._free else self._connect()
        self._under_way[connection] = _Exchange(broker, due)
        connection.sendall(f"{HEAD}{len(body)}\r\n\r\n{body}".encode())

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ)
        return connection


@contextmanager
def brokers(folder: Path) -> Iterator[dict[str, str]]:
    """Yield URLs of brokers by name: some that answer, which one process of mosquitto serves, and one that does not."""
    more = [free_port() for _ in range(LIVE - 1)]
    settings = ["log_type error", *[f"listener {port} 127.0.0.1" for port in more]]
    with Mosquitto(folder, settings) as live, unanswered() as hole:
        ports = {f"live-{number}": port for number, port in enumerate([live.port, *more], 1)} | {"dead": hole}
        yield {name: f"mqtt://127.0.0.1:{port}" for name, port in ports.items()}


def configuration(port: int, urls: dict[str, str], folder: Path) -> dict[str, Any]:
    """Return a router's configuration: the documented one, with these brokers, and room for any rate."""
    listed = {name: {"url": url} for name, url in urls.items()}
    room = {"max_connections": 10_000, "max_requests_per_second": 100_000}
    return {
        "sources": {"api": {"type": "cloudsync", "listen": f"127.0.0.1:{port}", "brokers": listed, **room}},
        "spool": {"path": str(folder / "spool")},
        "sinks": {"brokers": {"type": "cloudsync", "topics": ["$cloudsync/#"], "concurrency": 32, "brokers": listed}},
        "log": {"level": "error"},
    }


@contextmanager
def _configured(port: int, folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Run the brokers; yield a router's configuration and the names of the brokers."""
    with workspace(folder) as path, brokers(path / "brokers") as urls:
        config = path / "edgerouter.yaml"
        config.write_text(json.dumps(configuration(port, urls, path)))
        yield config, list(urls)


async def measure(rate: float, seconds: float, folder: Path) -> Row:
    """Run a router with its brokers, and the load in a separate process.

    Raises:
        RuntimeError: an answer is missing.
    """
    port = free_port()
    with _configured(port, folder) as (config, names):
        async with process(str(Path(sys.executable).with_name("edgerouter")), "run", "-c", str(config)) as router:
            await listening(port)
            before = usage(router.pid)
            found = await _loaded(port, rate, seconds, names)
            used = usage(router.pid) - before
    requests = int(rate * seconds)
    if len(found) < requests:
        raise RuntimeError(f"{requests - len(found)} of {requests} requests were not answered")
    live = [(spent, status) for broker, spent, status in found if broker != "dead"]
    times = sorted(spent * 1e3 for spent, _ in live)
    return Row(
        rate,
        len(live),
        sum(status == 200 for _, status in live) / len(live),
        times[len(times) // 2],
        times[int(len(times) * 0.99)],
        times[-1],
        tuple(sorted({status for broker, _, status in found if broker == "dead"})),
        used.cpu_seconds / requests * 1e6,
        used.peak_rss_bytes,
    )


async def _loaded(port: int, rate: float, seconds: float, names: Sequence[str]) -> list[tuple[str, float, int]]:
    command = [sys.executable, "-m", "benchmarks.cloudsync", "--load", str(port), "--rate", str(rate), "--seconds", str(seconds)]
    client = await asyncio.create_subprocess_exec(*command, *names, stdout=asyncio.subprocess.PIPE)
    output, _ = await client.communicate()
    if client.returncode:
        raise RuntimeError("the load failed")
    found: list[tuple[str, float, int]] = json.loads(output)
    return found


def as_markdown(rows: Sequence[Row]) -> str:
    """Format the runs as a table."""
    lines = [
        "| requests/s | of live brokers | delivered | p50, ms | p99, ms | most, ms | CPU, us a request | peak RSS, MB | dead |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| {row.rate:g} | {row.answers:,} | {row.delivered:.2%} | {row.p50_ms:.1f} | {row.p99_ms:.1f} | {row.most_ms:.1f} "
        f"| {row.cpu_us_a_request:,.0f} | {row.peak_rss_bytes / 1e6:.0f} | {', '.join(map(str, row.dead))} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-cloudsync", description=__doc__)
    parser.add_argument("--rate", type=float, action="append", help="requests a second (200)")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--load", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    rates = options.rate or [200.0]
    if options.load:
        load = Load(options.load, options.names)
        load.run(rates[0], options.seconds)
        print(json.dumps(load.found))
        return
    rows = [asyncio.run(measure(rate, options.seconds, options.folder)) for rate in rates for _ in range(options.rounds)]
    print(as_markdown(rows))


if __name__ == "__main__":
    main()
