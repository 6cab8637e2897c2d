"""Slow, silent and malformed clients end by themselves, hold little, and keep no other client out."""

import asyncio
import gc
import socket
import tracemalloc
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from support.http_source import HttpClient, serving, stream
from support.pipeline import until

HALF = b"POST /topics/a HTTP/1.1\r\nHost: edge\r\n"
MIB = 1024**2


@pytest.mark.parametrize("sent", [b"", HALF, HALF + b"X: y\r\n"])
async def test_half_a_head_ends_after_its_time_however_often_a_line_comes(sent: bytes) -> None:
    async with serving(head_timeout="200ms") as web, web.client() as client:
        client.writer.write(sent)
        feeding = asyncio.create_task(drip(client, b"X: y\r\n" if sent else b""), name="drip")
        assert await client.closed()
        feeding.cancel()


async def test_blank_lines_before_a_request_do_not_count_as_its_head() -> None:
    """The time for a head did not run behind them, and half a request stayed for as long as an idle connection."""
    async with serving(head_timeout="200ms", idle_timeout="1h") as web, web.client() as client:
        assert (await client.ask("/topics/a")).status == 202
        client.writer.write(b"\r\n\r\n" + HALF)
        assert await client.closed()
        async with web.client() as other:
            other.writer.write(b"\r\n\r\n\r\n")
            assert (await other.ask("/topics/a")).status == 202
            other.writer.write(b"\r\n")
            assert await other.closed()


async def drip(client: HttpClient, line: bytes) -> None:
    """Send a line again and again."""
    while not client.writer.is_closing():
        client.writer.write(line)
        await asyncio.sleep(0.05)


async def test_a_body_that_does_not_come_ends_after_its_time() -> None:
    async with serving(body_timeout="200ms") as web, web.client() as client:
        client.send("/topics/a", b"half", length=10)
        assert await client.closed()
        assert (await web.ask("/topics/a")).status == 202
    assert len(web.stored) == 1


async def test_a_connection_stays_open_between_requests_and_ends_after_silence() -> None:
    async with serving(head_timeout="100ms", idle_timeout="600ms") as web, web.client() as client:
        assert (await client.ask("/topics/a")).status == 202
        await asyncio.sleep(0.3)
        assert (await client.ask("/topics/a")).status == 202
        assert await client.closed()


async def test_a_request_that_waits_for_its_commit_is_not_cut_off_by_any_of_these_times() -> None:
    async with serving(head_timeout="100ms", body_timeout="100ms", idle_timeout="100ms") as web, web.client() as client:
        web.stores.clear()
        client.send("/topics/a")
        await asyncio.sleep(0.4)
        web.stores.set()
        assert (await client.answer()).status == 202


async def test_half_requests_beyond_the_bound_push_out_those_that_wait_longest_and_no_whole_request() -> None:
    async with serving(max_connections=5) as web, web.client() as whole:
        web.stores.clear()
        whole.send("/topics/a")
        await until(lambda: web.source.waiting.inbox.messages == 1)
        held = [await asyncio.open_connection("127.0.0.1", web.port) for _ in range(50)]
        for _, writer in held:
            writer.write(HALF)
        ended = [asyncio.create_task(reader.read()) for reader, _ in held]
        await until(lambda: sum(task.done() for task in ended) >= 46)
        web.stores.set()
        assert (await whole.answer()).status == 202
        assert (await web.ask("/topics/a")).status == 202
        for _, writer in held:
            writer.transport.abort()
        await asyncio.gather(*ended, return_exceptions=True)


@pytest.mark.parametrize("token", [False, True])
async def test_giant_bodies_that_stream_in_are_refused_and_hold_no_memory(token: bool) -> None:
    """With a wrong token and with a right one, with a length and without."""
    tokens = {"device": {"token": "0123456789abcdef"}}
    async with serving(tokens=tokens, max_body_bytes="1MiB") as web:
        credentials = {"Authorization": "Bearer 0123456789abcdef" if token else "Bearer wrong"}
        gc.collect()
        tracemalloc.start()
        try:
            for headers in ({"Transfer-Encoding": "chunked"}, {}):
                async with web.client() as client:
                    client.send("/topics/a", b"", length=1 << 40, **credentials, **headers)
                    sending = asyncio.create_task(stream(client, chunked=bool(headers)), name="stream")
                    answer = await client.answer()
                    assert answer.status == (413 if token else 401)
                    sending.cancel()
                    await asyncio.wait((sending,))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 8 * MIB, f"{peak / MIB:.0f} MiB"
    assert not web.stored


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x00\r\n\r\n",
        b"GET\r\n\r\n",
        HALF + b"Content-Length: x\r\n\r\n",
        HALF + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        HALF + b"A" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_answered_with_a_problem_and_logs_nothing(sent: bytes) -> None:
    with capture_logs() as logs:
        async with serving() as web, web.client() as client:
            client.writer.write(sent)
            answer = await client.answer()
            assert answer.status == 400
            assert answer.detail.startswith("not a valid request")
            assert await client.closed()
    assert logs == []


async def test_a_head_without_end_is_cut_off() -> None:
    async with serving() as web, web.client() as client:
        client.writer.write(HALF)
        for number in range(2000):
            client.writer.write(b"X-%d: %b\r\n" % (number, b"x" * 100))
        assert await client.closed()


async def test_a_client_that_reads_no_answer_is_cut_off() -> None:
    """Otherwise its answers would pile up in memory for as long as it sends."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        async with serving() as web, asyncio.timeout(60):
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, ("127.0.0.1", web.port))
            requests = (HALF + b"Content-Length: 0\r\n\r\n") * 100
            with suppress(ConnectionError):
                while True:
                    await loop.sock_sendall(connection, requests)


async def test_requests_one_after_another_in_pieces_and_in_one_packet_are_answered() -> None:
    request = HALF + b"Content-Length: 1\r\n\r\n"
    async with serving() as web, web.client() as client:
        for byte in request + b"1":
            client.writer.write(bytes([byte]))
            await client.writer.drain()
        assert (await client.answer()).status == 202
        client.writer.write((request + b"2") + (request + b"3"))
        assert [(await client.answer()).status for _ in range(2)] == [202, 202]
    assert [payload for _, payload in web.stored] == [b"1", b"2", b"3"]


async def test_a_client_that_waits_for_100_continue_is_asked_for_its_body() -> None:
    async with serving() as web, web.client() as client:
        client.send("/topics/a", b"", length=3, Expect="100-continue")
        assert (await client.answer()).status == 100
        client.writer.write(b"abc")
        assert (await client.answer()).status == 202
        assert (await client.ask("/topics/a", b"", Expect="sunshine")).status == 417
    assert web.stored == [("a", b"abc")]
