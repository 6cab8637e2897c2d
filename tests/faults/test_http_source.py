"""Behind an HTTP source: `kill -9` under load loses no message that was answered with 202, and hostile clients fill no memory.

Covers: src/edgerouter/sources/http.
"""

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.arrivals import lines
from support.http_source import HttpClient, stream
from support.mosquitto import free_port
from support.process_meter import usage
from support.promise import ledgers_hold, spool_is_sound
from support.router import router

KILLS = int(os.environ.get("EDGEROUTER_TEST_HTTP_KILLS", "10"))
CLIENTS = 16
TOKEN = "0123456789abcdef"
MIB = 1024**2
MOST_GROWTH = 72 * MIB
"""Of memory, under attack: what may wait to be stored, and what 256 connections buffer."""


def configuration(folder: Path, port: int) -> dict[str, Any]:
    return {
        "sources": {"web": {"type": "http", "listen": f"127.0.0.1:{port}", "tokens": {"device": {"token": TOKEN}}}},
        "sinks": {"files": {"type": "file", "path": str(folder / "files")}},
    }


class Line(msgspec.Struct):
    topic: str
    payload: int


@dataclass(slots=True)
class Device:
    """Sends one number after another; with keys it repeats what was not answered, as a device that must not lose anything does."""

    port: int
    topic: str
    keys: bool
    sent: int = 0
    stored: set[int] = field(default_factory=set)
    """Numbers that were answered with 202."""

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._talk(HttpClient(reader, writer), stop)
            writer.transport.abort()

    async def _talk(self, client: HttpClient, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if not self.keys or self.sent in self.stored or not self.sent:
                self.sent += 1
            headers = {"Idempotency_Key": f"{self.topic} {self.sent}"} if self.keys else {}
            answer = await client.ask(f"/topics/{self.topic}", str(self.sent).encode(), Authorization=f"Bearer {TOKEN}", **headers)
            assert answer.status in (202, 503), answer
            if answer.status == 202:
                self.stored.add(self.sent)


@pytest.mark.timeout(240 + 20 * KILLS)
async def test_kills_under_load_lose_no_message_that_was_answered_and_store_none_with_a_key_twice(tmp_path: Path) -> None:
    chance, port = random.Random(7), free_port()
    devices = [Device(port, f"d/{number}", keys=number % 2 == 0) for number in range(CLIENTS)]
    stop = asyncio.Event()
    async with router(tmp_path, configuration(tmp_path, port)) as process, asyncio.TaskGroup() as tasks:
        await process.start()
        for device in devices:
            tasks.create_task(device.run(stop), name=device.topic)
        for _ in range(KILLS):
            before, more = answered(devices), chance.randrange(30, 150)
            async with asyncio.timeout(60):
                while answered(devices) < before + more:
                    await asyncio.sleep(0.002)
            await process.kill()
            await process.start(connected=False)
        before = answered(devices)
        async with asyncio.timeout(60):
            while answered(devices) < before + 100:
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.sleep(0)
        ledgers_hold(await process.until_delivered())
        assert await process.stop() == 0
    decode = msgspec.json.Decoder(Line).decode
    found = {device.topic: Counter[int]() for device in devices}
    ids = {msgspec.json.decode(line)["id"]: decode(line) for line in lines(tmp_path / "files")}
    for line in ids.values():
        found[line.topic][line.payload] += 1
    twice = 0
    for device in devices:
        assert device.stored <= found[device.topic].keys(), f"{device.topic}: {device.stored - found[device.topic].keys()}"
        if device.keys:
            twice += sum(count - 1 for count in found[device.topic].values())
    print(f"{answered(devices)} answered, {len(ids)} stored, {twice} with a key stored twice")
    assert twice == 0
    await spool_is_sound(process.spool)


def answered(devices: list[Device]) -> int:
    return sum(len(device.stored) for device in devices)


async def attack(port: int, token: str, headers: dict[str, str]) -> None:
    """Stream a body without end until the server ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = HttpClient(reader, writer)
    client.send("/topics/a", b"", length=1 << 40, Authorization=f"Bearer {token}", **headers)
    await stream(client, chunked=bool(headers))
    writer.transport.abort()


async def hold(port: int, sent: bytes, count: int) -> list[asyncio.StreamWriter]:
    """Open connections with a part of a request."""
    writers = []
    for _ in range(count):
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            writers.append(writer)
    return writers


async def test_hostile_clients_fill_no_memory_and_others_are_served(tmp_path: Path) -> None:
    """Endless bodies with a right and a wrong token, hundreds of half heads, and hundreds of bodies that never end."""
    port = free_port()
    async with router(tmp_path, configuration(tmp_path, port), fresh=True) as process:
        await process.start()
        before = usage(process.pid).peak_rss_bytes
        tokens = [TOKEN, "wrong"] * 4
        await asyncio.gather(*(attack(port, token, {"Transfer_Encoding": "chunked"}) for token in tokens))
        await asyncio.gather(*(attack(port, token, {}) for token in tokens))
        half = f"POST /topics/a HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 4000000\r\n"
        held = await hold(port, half.encode() + b"X: " + b"y" * 8000, 400)
        held += await hold(port, half.encode() + b"\r\n" + b"z" * 1_000_000, 300)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(30):
            while (await HttpClient(reader, writer).ask("/topics/a", b"1", Authorization=f"Bearer {TOKEN}")).status != 202:
                await asyncio.sleep(0.05)
        for each in (*held, writer):
            each.transport.abort()
        grown = usage(process.pid).peak_rss_bytes - before
        status = await process.status()
        assert grown < MOST_GROWTH, f"{grown / MIB:.0f} MiB"
        assert status["event_loop"]["longest_pause_seconds"] < 0.5, status["event_loop"]
        assert status["sources"]["web"]["messages"] == 1
        assert "error" not in process.tail()
        assert await process.stop() == 0
