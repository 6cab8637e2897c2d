"""Clients of `admin.listen` cannot use up the router's descriptors, nor fill its log."""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
import pytest
from aiohttp import web

from edgerouter.admin import server, visitor
from edgerouter.admin.server import serve
from support.mosquitto import free_port
from support.pipeline import until

HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def ask(port: int) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/") as answer:
        return await answer.text()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    port = free_port()
    async with serve([web.get("/", hello)], [], None, f"127.0.0.1:{port}"):
        yield port


async def test_hundreds_of_half_open_requests_keep_no_client_out_and_hold_few_connections(port: int) -> None:
    """1,400 of them used up the descriptors of the whole router."""
    held = []
    for _ in range(300):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HALF)
        held.append((reader, writer))
    assert await ask(port) == "hello"
    ended = [asyncio.create_task(reader.read()) for reader, _ in held]
    await until(lambda: sum(task.done() for task in ended) >= len(held) - visitor.MOST_CONNECTIONS, 30)
    assert await ask(port) == "hello"
    for (_, writer), task in zip(held, ended, strict=True):
        writer.close()
        task.cancel()
    await asyncio.gather(*ended, return_exceptions=True)


async def test_half_a_request_is_closed_after_a_while_and_a_second_one_on_the_connection_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "Reception", partial(visitor.Reception, head_seconds=0.3))
    port = free_port()
    async with serve([web.get("/", hello)], [], None, f"127.0.0.1:{port}"):
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
