"""A poster sends what it is given, and leaves no connection in a doubtful state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from botocore.exceptions import HTTPClientError, ReadTimeoutError

from edgerouter.http_client import bounded
from edgerouter_aws.poster import Poster
from support.raw_http import raw_http

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"Successful":[]}'


@asynccontextmanager
async def posting(url: str, *, seconds: float = 60.0) -> AsyncIterator[Poster]:
    timeout = aiohttp.ClientTimeout(sock_connect=seconds, sock_read=seconds)
    async with aiohttp.ClientSession(connector=bounded(aiohttp.TCPConnector()), timeout=timeout) as session:
        yield Poster(session, url, {"X-Common": "1"})


def fields_of(head: bytes) -> tuple[str, dict[str, str]]:
    """Return the request line and the headers."""
    line, *lines = head.decode().split("\r\n")[:-2]
    return line, dict(each.split(": ", 1) for each in lines)


async def test_requests_one_after_another_share_a_connection() -> None:
    async with raw_http(OK) as server, posting(f"{server.url}/a%2Fb?c=d") as poster:
        for number in range(3):
            answer = await poster.post({"X-Number": str(number)}, b"%d" % number)
            assert (answer.status, answer.body) == (200, b'{"Successful":[]}')
    assert server.connections == 1
    assert [body for _, body in server.requests] == [b"0", b"1", b"2"]
    heads = [fields_of(head) for head, _ in server.requests]
    assert {line for line, _ in heads} == {"POST /a%2Fb?c=d HTTP/1.1"}
    assert [(headers["X-Common"], headers["X-Number"], headers["Content-Length"]) for _, headers in heads] == [
        ("1", str(number), "1") for number in range(3)
    ]


async def test_requests_at_the_same_time_get_their_own_answers() -> None:
    """The server answers none of them before all have come."""
    all_there = asyncio.Barrier(5)

    async def answer(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        await all_there.wait()
        return web.Response(body=body)

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with posting(f"http://127.0.0.1:{runner.addresses[0][1]}") as poster:
            answers = await asyncio.gather(*[poster.post({}, b"%d" % number) for number in range(5)])
    finally:
        await runner.cleanup()
    assert [each.body for each in answers] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2",
    ],
    ids=["the server closes", "HTTP/1.0", "a second answer that nothing asked for"],
)
async def test_a_connection_that_cannot_be_used_again_is_not(answer: bytes) -> None:
    async with raw_http(answer) as server, posting(server.url) as poster:
        assert [(await poster.post({}, b"x")).body for _ in range(3)] == [b"1"] * 3
    assert server.connections == 3


async def test_an_answer_without_length_ends_with_the_connection() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        writer.close()

    async with raw_http(answer) as server, posting(server.url) as poster:
        assert (await poster.post({}, b"x")).body == b"all of it"


async def test_a_cancelled_request_takes_its_connection_with_it() -> None:
    """Its answer would be taken for that of the next request."""
    asked = asyncio.Event()
    silent = True

    async def answer(writer: asyncio.StreamWriter) -> None:
        asked.set()
        if not silent:
            writer.write(OK)

    async with raw_http(answer) as server, posting(server.url) as poster:
        task = asyncio.create_task(poster.post({}, b"x"))
        await asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        silent = False
        assert (await poster.post({}, b"y")).status == 200
    assert server.connections == 2


async def test_an_answer_before_the_end_of_the_request_counts_and_ends_the_connection() -> None:
    """The service may close, or take what is left for another request; the body is more than the sockets' buffers hold."""
    writers: list[asyncio.StreamWriter] = []

    async def refuse_unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")

    server = await asyncio.start_server(refuse_unread, "127.0.0.1", 0)
    async with server, posting(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seconds=20) as poster:
        try:
            for _ in range(2):
                answer = await poster.post({}, bytes(32 * 1024**2))
                assert (answer.status, answer.body) == (413, b"no")
        finally:
            for writer in writers:
                writer.transport.abort()
    assert len(writers) == 2


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """It would take signed headers to the host that a captive portal names."""
    async with raw_http(OK) as elsewhere:
        redirect = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n".encode()
        async with raw_http(redirect) as server, posting(server.url) as poster:
            assert (await poster.post({}, b"x")).status == 307
    assert elsewhere.connections == 0


@pytest.mark.parametrize("token", ["a\r\nX-Injected: 1", "a\nb", "a\rb"])
async def test_a_line_break_in_a_header_sends_nothing_and_is_not_shown(token: str) -> None:
    async with raw_http(OK) as server, posting(server.url) as poster:
        with pytest.raises(HTTPClientError, match="a header holds a line break") as caught:
            await poster.post({"X-Amz-Security-Token": token}, b"x")
    assert server.connections == 0
    assert token not in str(caught.value)


async def test_a_service_that_never_answers_is_given_up() -> None:
    async def nothing(_: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with raw_http(nothing) as server, posting(server.url, seconds=0.05) as poster:
        with pytest.raises(ReadTimeoutError):
            await poster.post({}, b"x")


async def test_a_service_that_stops_within_its_answer_is_given_up() -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
        await asyncio.Event().wait()

    async with raw_http(half) as server, posting(server.url, seconds=0.05) as poster:
        with pytest.raises(ReadTimeoutError):
            await poster.post({}, b"x")


async def test_interim_answers_are_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with raw_http(interim + OK) as server, posting(server.url) as poster:
        assert [(await poster.post({}, b"x")).status for _ in range(2)] == [200, 200]
    assert server.connections == 1
