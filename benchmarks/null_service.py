"""A service that accepts everything and counts, in a separate process, so that its CPU does not count for the sink."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator

from edgerouter import Message

TOPICS = 50


async def serve(protocol: type[asyncio.Protocol]) -> None:
    """Run the service and print its port."""
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.asynccontextmanager
async def serving(module: str) -> AsyncIterator[str]:
    """Run `python -m <module> --serve` and yield the service's address."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, "--serve", stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{(await process.stdout.readline()).decode().strip()}"
    finally:
        process.terminate()
        await process.wait()


async def numbers(url: str) -> dict[str, int]:
    """Return the service's counters since the last call."""
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    writer.write(b"GET /numbers HTTP/1.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    told: dict[str, int] = json.loads(await reader.readexactly(int(length[1])))
    writer.close()
    await writer.wait_closed()
    return told


def messages(count: int) -> list[Message]:
    """Build JSON payloads of 200 bytes on 50 topics."""
    made = []
    for number in range(count):
        value = f'{{"n": {number}, "t": {1_795_168_800_000_000_000 + number}, "v": {number % 977 / 7:.6f}, "x": "'
        payload = (value + "sensor reading " * 20)[:198] + '"}'
        topic = f"sensors/{number % TOPICS:03}/value"
        made.append(Message(topic, payload.encode(), 1_795_168_800_000_000_000 + number, 1, False, None, "bench", number + 1))
    return made
