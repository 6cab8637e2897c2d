"""Clients that read nothing, of events and taps, and thousands that send half a request, hold up nothing and cost bounded memory.

Covers: edgerouter.admin.streams, edgerouter.admin.tap.listener, edgerouter.http_server.slow_readers.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from edgerouter.admin.api.tap import MOST_TAPS
from support.admin_api import TOKEN, box
from support.event_streams import event_client
from support.pipeline import until
from support.process_meter import usage

HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
MOST_GROWTH = 48 * 1024**2
"""Four taps with 256 KiB, 64 connections with their buffers, 2,000 sockets of the test, and what Python keeps for later."""


async def closed(writer: asyncio.StreamWriter) -> None:
    """Abort a connection, and return once it is gone."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def test_slow_readers_beside_thousands_of_half_open_requests_hold_up_nothing(tmp_path: Path) -> None:
    tap = {"enabled": True, "max_messages_per_second": 1000, "preview_bytes": 4096}
    async with box(tmp_path, tap=tap) as it, AsyncExitStack() as stack:
        streams = ["/api/v1/events"] * 10 + ["/api/v1/tap"] * MOST_TAPS
        for path in streams:
            slow = await stack.enter_async_context(event_client(it.port, receive_buffer=4096))
            assert await slow.open(path, Authorization=f"Bearer {TOKEN}") == 200
        await until(lambda: it.router.taps.open == MOST_TAPS)
        before = usage(os.getpid()).rss_bytes
        for _ in range(2000):
            _, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(HALF)
            stack.push_async_callback(closed, writer)
        for number in range(1000):
            it.router.events.add("sink", "out", f"{number} " + "x" * 400)
            await asyncio.sleep(0)
        await it.publish("a", *([b"x" * 100_000] * 200))
        await until(lambda: it.router.status().sinks["out"].delivered == 200, 60)
        assert (await it.get("/api/v1/status"))["running"] is True
        assert it.streams_open == len(streams)
        assert usage(os.getpid()).rss_bytes - before < MOST_GROWTH
