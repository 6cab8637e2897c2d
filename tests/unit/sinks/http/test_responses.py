"""Only the status line of an answer decides whether a batch is delivered: the HTTP sink and the InfluxDB sink."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from edgerouter import Sink, SinkContext, Unavailable
from edgerouter.sinks.http.config import HttpConfig
from edgerouter.sinks.http.sink import HttpSink
from edgerouter.sinks.influxdb.config import InfluxDbConfig
from edgerouter.sinks.influxdb.sink import InfluxDbSink
from edgerouter.testing import make_message
from support.raw_http import Answer, RawHttp, for_ever, raw_http

PATIENCE = 60
"""Seconds after which a test fails that should take a fraction of one."""
CONTEXT = SinkContext("web", "edge-1", "5p00l", timeout=600)

both = pytest.mark.parametrize("kind", [HttpSink, InfluxDbSink])


@asynccontextmanager
async def opened(kind: type[Sink[Any]], answer: bytes | Answer) -> AsyncIterator[tuple[RawHttp, Sink[Any]]]:
    async with raw_http(answer) as server, asyncio.timeout(PATIENCE):
        config = (
            HttpConfig(url=f"{server.url}/in")
            if kind is HttpSink
            else InfluxDbConfig(url=server.url, token="the-token", org="o", bucket="b", probe=False)  # type: ignore[arg-type]  # pydantic makes it secret
        )
        async with kind.open(config, CONTEXT) as sink:
            yield server, sink


async def delivered(kind: type[Sink[Any]], answer: bytes | Answer) -> RawHttp:
    async with opened(kind, answer) as (server, sink):
        for _ in range(2):
            assert not (await sink.write([make_message(b'{"a": 1}')])).failed
    return server


async def error_for(kind: type[Sink[Any]], answer: bytes | Answer) -> str:
    async with opened(kind, answer) as (_, sink):
        with pytest.raises(Unavailable) as caught:
            await sink.write([make_message(b'{"a": 1}')])
    return str(caught.value)


@both
@pytest.mark.parametrize("status", ["000", "042", "099", "101", "304", "399", "600", "999"])
async def test_a_status_that_is_not_2xx_is_a_failure(kind: type[Sink[Any]], status: str) -> None:
    said = await error_for(kind, f"HTTP/1.1 {status} Well\r\nContent-Length: 0\r\n\r\n".encode())
    assert status in said
    assert "moved" not in said


@both
@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"\r\n\r\n200 OK\r\n\r\n",
    ],
)
async def test_an_answer_that_is_not_http_is_a_failure(kind: type[Sink[Any]], answer: bytes) -> None:
    async def once(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    await error_for(kind, once)


@both
async def test_an_answer_that_is_cut_after_its_status_line_is_a_success(kind: type[Sink[Any]]) -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly a part")
        await writer.drain()
        writer.close()

    assert len((await delivered(kind, cut)).requests) == 2


@both
@pytest.mark.parametrize("head", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"], ids=["length", "chunked"])
async def test_an_answer_whose_body_drips_is_a_success_within_seconds(kind: type[Sink[Any]], head: bytes) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        await for_ever(writer, b"1\r\nx\r\n" if b"chunked" in head else b"x", 0.05)

    assert len((await delivered(kind, drip)).requests) == 2


async def test_a_status_line_that_comes_just_before_the_time_out_is_a_success() -> None:
    """Waiting for the rest of the answer until the timeout would send the batch again."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        await for_ever(writer, b"x", 0.05)

    async with raw_http(drip) as server:
        config = HttpConfig(url=server.url)
        async with asyncio.timeout(PATIENCE), HttpSink.open(config, SinkContext("web", "edge-1", "5p00l", timeout=0.5)) as sink:
            began = asyncio.get_running_loop().time()
            assert not (await sink.write([make_message()])).failed
            # otherwise the sink would wait a second
            assert asyncio.get_running_loop().time() - began < 0.99


@both
async def test_a_204_with_a_body_is_a_success(kind: type[Sink[Any]]) -> None:
    server = await delivered(kind, b'HTTP/1.1 204 No Content\r\nContent-Length: 15\r\n\r\n{"taken": true}')
    assert server.connections >= 2, "a connection with a body that cannot be is not used again"


@both
async def test_interim_answers_without_end_are_an_error_long_before_the_time_out(kind: type[Sink[Any]]) -> None:
    said = await error_for(kind, partial(for_ever, unit=b"HTTP/1.1 100 Continue\r\n\r\n"))
    assert "interim answers" in said


@both
async def test_an_error_without_end_is_read_for_its_beginning(kind: type[Sink[Any]]) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 Broken\r\n\r\nthe reason ")
        await for_ever(writer, b"x" * 1000)

    assert "the reason xxx" in await error_for(kind, endless)


@both
async def test_no_compressed_answer_is_asked_for_and_none_is_expanded(kind: type[Sink[Any]]) -> None:
    bomb = b"HTTP/1.1 500 Broken\r\nContent-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n" + b"\x1f\x8b\x08" + bytes(997)
    async with opened(kind, bomb) as (server, sink):
        with pytest.raises(Unavailable, match=r"answers 500$"):
            await sink.write([make_message(b'{"a": 1}')])
        assert b"accept-encoding: identity" in server.requests[0][0].lower()
