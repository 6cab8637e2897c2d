"""Clients of `admin.listen` cannot use up the router's descriptors or memory, nor fill its log.

Covers: edgerouter.admin.server, edgerouter.http_server.slow_readers.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web

from edgerouter.admin import server
from edgerouter.admin.access import Caller
from edgerouter.admin.routes import Route
from edgerouter.admin.server import serve
from edgerouter.config.admin import AdminConfig
from edgerouter.http_server import slow_readers
from edgerouter.http_server.connections import Times
from support.mosquitto import free_port
from support.pipeline import until

HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def hello(_: web.Request, _caller: Caller) -> web.Response:
    return web.Response(text="hello")


async def large(_: web.Request, _caller: Caller) -> web.Response:
    return web.Response(body=bytes(1024**2))


HELLO = [Route("GET", "/", "read", hello), Route("GET", "/large", "read", large)]


async def ask(port: int) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/") as answer:
        return await answer.text()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    port = free_port()
    async with serve(HELLO, None, AdminConfig(listen=f"127.0.0.1:{port}")):
        yield port


async def test_thousands_of_half_open_requests_keep_no_client_out_and_hold_few_connections(port: int) -> None:
    """2,000 of them used up the descriptors of the whole router."""
    held = []
    for _ in range(2000):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HALF)
        held.append((reader, writer))
    assert await ask(port) == "hello"
    ended = [asyncio.create_task(reader.read()) for reader, _ in held]
    await until(lambda: sum(task.done() for task in ended) >= len(held) - server.MOST_CONNECTIONS, 30)
    assert await ask(port) == "hello"
    for (_, writer), task in zip(held, ended, strict=True):
        writer.close()
        task.cancel()
    await asyncio.gather(*ended, return_exceptions=True)


async def test_half_a_request_is_closed_after_a_while_and_a_second_one_on_the_connection_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = Times(head=0.3, body=0.3, idle=0.3)
    monkeypatch.setattr(server, "TIMES", times)
    port = free_port()
    async with serve(HELLO, None, AdminConfig(listen=f"127.0.0.1:{port}")):
        for sent in (b"", HALF, HALF + b"\r\n" + HALF):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            await asyncio.wait_for(reader.read(), 30)
            writer.close()


async def test_requests_one_after_another_and_in_pieces_are_answered(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        for byte in HALF + b"\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
        assert (await asyncio.wait_for(reader.readuntil(b"hello"), 30)).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        HALF + b"A" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_answered_and_logs_nothing(port: int, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.") is True
    writer.close()
    assert not caplog.records


async def test_answers_that_are_not_read_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer waits in memory until its client reads it; the one that has waited longest is given up."""
    monkeypatch.setattr(slow_readers, "MOST_UNREAD_BYTES", 3 * 1024**2)
    made: list[slow_readers.Connections] = []

    def remembered(runner: web.Server, *, most: int, times: Times) -> slow_readers.Connections:
        made.append(slow_readers.Connections(runner, most=most, times=times))
        return made[-1]

    monkeypatch.setattr(server, "Connections", remembered)
    port = free_port()
    async with serve(HELLO, None, AdminConfig(listen=f"127.0.0.1:{port}")):
        held = []
        for _ in range(12):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            held.append(writer)
        await until(lambda: len(made[0].unread) > 1, 30)
        assert await ask(port) == "hello"
        assert sum(connection.unread_bytes for connection in made[0].unread) <= slow_readers.MOST_UNREAD_BYTES
        for writer in held:
            writer.transport.abort()


async def test_an_answer_that_is_not_read_for_too_long_ends_its_connection(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(slow_readers, "ANSWER_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8)
    await asyncio.sleep(0.6)
    with suppress(ConnectionError):
        assert len(await asyncio.wait_for(reader.read(), 30)) < 8 * 1024**2
    writer.close()
