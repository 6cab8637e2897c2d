"""Requests a second and CPU per request of the HTTP source in a whole router, from a client on raw sockets that stay open."""

from __future__ import annotations

import argparse
import asyncio
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from aiohttp import web
from benchmarks.subjects import process
from benchmarks.workspace import workspace

from support.mosquitto import free_port
from support.process_meter import usage

PAYLOAD = b'{"n": 1, "celsius": 21.5, "x": "' + b"x" * 168 + b'"}'
TOKEN = "a-token-of-the-benchmark"
ROUTER = """\
sources:
  web: {{type: http, listen: "127.0.0.1:{port}", tokens: {{bench: {{token: {token}}}}}, max_connections: 1000}}
spool: {{path: "{folder}/spool"}}
sinks:
  file: {{type: file, path: "{folder}/out", rotate: {{size: 100GiB}}}}
log: {{level: warning}}
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One number of connections."""

    connections: int
    messages_a_request: int
    """0 for the bare server."""
    requests: int
    requests_a_second: float
    cpu_us_a_request: float
    """Of the whole router: source, spool and file sink."""
    peak_rss_bytes: int

    @property
    def requests_a_core_second(self) -> float:
        """Requests that one core answers in a second."""
        return 1e6 / self.cpu_us_a_request


def request(messages: int) -> bytes:
    """Return a request with so many messages."""
    body = PAYLOAD if messages == 1 else b"\n".join([PAYLOAD] * messages)
    kind = b"application/json" if messages == 1 else b"application/x-ndjson"
    head = b"POST /topics/plant/line1/temperature HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer %b\r\n" % TOKEN.encode()
    return head + b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body


def load(port: int, connections: int, requests: int, messages: int) -> None:
    """Send the next request on each connection when its answer has come; runs in a separate process."""
    data = request(messages)
    left = requests - connections
    waiting = connections
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(data)
            selector.register(connection, selectors.EVENT_READ)
        while waiting:
            for key, _ in selector.select():
                answering: socket.socket = key.fileobj  # type: ignore[assignment]  # only sockets are registered
                answer = answering.recv(4096)
                if not answer.startswith(b"HTTP/1.1 202") or not answer.endswith(b"\r\n\r\n"):
                    sys.exit(f"not stored: {answer!r}")
                waiting -= 1
                if left > 0:
                    left -= 1
                    waiting += 1
                    answering.sendall(data)


async def listening(port: int) -> None:
    """Return once something accepts connections on this port."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def _configured(folder: Path, port: int) -> Path:
    config = folder / "edgerouter.yaml"
    config.write_text(ROUTER.format(port=port, folder=folder, token=TOKEN))
    return config


def bare(port: int) -> None:
    """Serve requests with aiohttp on uvloop, and do nothing with them: what is left of a request without a router."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/topics/{topic:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


async def measure(connections: int, requests: int, messages: int, folder: Path) -> Row:
    """Measure a router with one number of connections; a bare server where `messages` is 0."""
    port = free_port()
    with workspace(folder) as path:
        config = _configured(path, port)
        command = [str(Path(sys.executable).with_name("edgerouter")), "run", "-c", str(config)]
        if not messages:
            command = [sys.executable, "-m", "benchmarks.http_source", "--bare", str(port)]
        async with process(*command) as router:
            await listening(port)
            plan = [str(each) for each in (port, connections, requests, messages or 1)]
            before, began = usage(router.pid), time.monotonic()
            client = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.http_source", "--load", *plan)
            if await client.wait():
                raise RuntimeError("a request was not stored")
            seconds, used = time.monotonic() - began, usage(router.pid) - before
    return Row(connections, messages, requests, requests / seconds, used.cpu_seconds / requests * 1e6, used.peak_rss_bytes)


async def measure_all(requests: int, folder: Path) -> list[Row]:
    """Measure a bare server, few and many connections, and batches."""
    cases = [(100, 0, requests), (10, 1, requests), (100, 1, requests), (500, 1, requests), (10, 100, requests // 20)]
    return [await measure(connections, count, messages, folder) for connections, messages, count in cases]


def as_markdown(rows: Sequence[Row]) -> str:
    """Format the rows as a table."""
    lines = [
        "| http source: connections | messages a request | requests/s | CPU, us a request | requests/s of a core | peak RSS, MB |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.connections} | {row.messages_a_request or 'bare aiohttp'} | {row.requests_a_second:,.0f} "
        f"| {row.cpu_us_a_request:.0f} | {row.requests_a_core_second:,.0f} | {row.peak_rss_bytes / 1e6:.0f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--load", nargs=4, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        bare(options.bare)
    elif options.load:
        load(*options.load)
    else:
        print(as_markdown(asyncio.run(measure_all(options.requests, options.folder))))


if __name__ == "__main__":
    main()
