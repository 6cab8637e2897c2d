"""A client's connections to servers that never finish an answer, or send too much."""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import aiohttp
import pytest

from edgerouter.http_client import MOST_INTERIM, PLAIN, UnboundedAnswer, beginning, bounded, retry_seconds
from support.raw_http import for_ever, raw_http

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PATIENCE = 60
"""Seconds after which a test fails that should take a fraction of one."""


async def ask(url: str, most: int = 1024) -> tuple[int, bytes]:
    async with (
        asyncio.timeout(PATIENCE),
        aiohttp.ClientSession(connector=bounded(aiohttp.TCPConnector()), headers=PLAIN, auto_decompress=False) as session,
        session.post(url, data=b"question") as response,
    ):
        return response.status, await beginning(response, most)


async def refused(url: str) -> str:
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await ask(url)
    assert isinstance(caught.value.__cause__, UnboundedAnswer)
    return caught.value.message


async def test_interim_answers_without_end_end_the_request() -> None:
    async with raw_http(partial(for_ever, unit=CONTINUE)) as server:
        assert "interim" in await refused(server.url)


async def test_hints_without_end_end_the_request() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\n" + b"".join(b"Link-%d: %b\r\n" % (n, b"x" * 4000) for n in range(5)) + b"\r\n"
    async with raw_http(partial(for_ever, unit=hints)) as server:
        assert "KiB of headers" in await refused(server.url)


async def test_a_head_without_end_ends_the_request() -> None:
    async def head(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await for_ever(writer, b"X-Filler: " + b"x" * 1000 + b"\r\n")

    async with raw_http(head) as server:
        # aiohttp may detect it first: it counts headers
        with pytest.raises(aiohttp.ClientResponseError):
            await ask(server.url)


async def test_some_interim_answers_are_as_good_as_none() -> None:
    interim = CONTINUE + b"HTTP/1.1 102 Processing\r\n\r\n" * (MOST_INTERIM - 1)
    async with raw_http(interim + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as server:
        assert await ask(server.url) == (200, b"hello")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_an_answer_may_come_in_any_pieces(size: int) -> None:
    whole = CONTINUE * 3 + b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50000

    async def in_pieces(writer: asyncio.StreamWriter) -> None:
        for start in range(0, 300, size):
            writer.write(whole[start : min(300, start + size)])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(whole[300:])

    async with raw_http(in_pieces) as server:
        assert await ask(server.url, 100_000) == (200, b"x" * 50000)


@pytest.mark.parametrize(
    "after", [b"a body that cannot be", b"HTTP/1.1 500 No\r\n\r\n", b"\x00" * 100_000], ids=["text", "another answer", "zeros"]
)
@pytest.mark.parametrize("head", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
async def test_what_follows_an_answer_does_not_change_it(head: bytes, after: bytes) -> None:
    async with raw_http(head + after) as server:
        assert (await ask(server.url))[0] in (200, 204)


async def test_a_connection_whose_answer_went_on_is_not_used_again() -> None:
    async with (
        raw_http(b"HTTP/1.1 204 No Content\r\n\r\nmore") as server,
        aiohttp.ClientSession(connector=bounded(aiohttp.TCPConnector())) as session,
    ):
        for _ in range(3):
            async with asyncio.timeout(PATIENCE), session.post(server.url) as response:
                assert response.status == 204
        assert server.connections == 3


async def test_a_good_connection_is_used_again() -> None:
    async with (
        raw_http(CONTINUE + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as server,
        aiohttp.ClientSession(connector=bounded(aiohttp.TCPConnector())) as session,
    ):
        for _ in range(2 * MOST_INTERIM):
            async with asyncio.timeout(PATIENCE), session.post(server.url) as response:
                assert await response.read() == b"ok"
        assert server.connections == 1


async def test_a_large_body_is_read_to_its_end_with_pauses() -> None:
    body = bytes(range(256)) * 40_000
    async with (
        raw_http(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as server,
        aiohttp.ClientSession(connector=bounded(aiohttp.TCPConnector())) as session,
        asyncio.timeout(PATIENCE),
        session.get(server.url) as response,
    ):
        read = bytearray()
        async for piece in response.content.iter_any():
            read += piece
            await asyncio.sleep(0)
        assert bytes(read) == body


async def test_a_flood_of_interim_answers_costs_neither_memory_nor_the_loop() -> None:
    with flood(CONTINUE * 100_000) as port:
        before, worst, last = resource.getrusage(resource.RUSAGE_THREAD).ru_utime, 0.0, time.thread_time()
        asking = asyncio.ensure_future(refused(f"http://127.0.0.1:{port}"))
        while not asking.done():
            await asyncio.sleep(0)
            now = time.thread_time()
            worst, last = max(worst, now - last), now
        assert "interim" in asking.result()
    # CPU time of this thread, so that a busy machine changes nothing; parsing one read of a flood took 150 ms, repeatedly
    assert worst < 0.1
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_utime - before < 1


@contextmanager
def flood(data: bytes) -> Iterator[int]:
    """Run a server in a thread that writes as fast as the socket accepts, until the client disconnects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                try:
                    while True:
                        connection.sendall(data)
                except OSError:
                    return

        thread = threading.Thread(target=serve, name="flood", daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the client has not closed its connection"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 1.5 ", 1.5),
        ("Fri, 01 Jan 2010 00:00:00 GMT", 0),
        ("soon", None),
        ("inf", None),
        ("-1", None),
        ("", None),
        (None, None),
    ],
)
def test_the_wait_that_a_service_asks_for_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_seconds(value) == seconds
