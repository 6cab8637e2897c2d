"""Connections are bounded in number and time, and malformed requests are the caller's fault."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from edgerouter import Unavailable
from edgerouter_cloudsync.api import server
from edgerouter_cloudsync.api.server import served
from support.certificates import Authority
from support.cloudsync import plant


async def answer(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="ok")


async def read_all(port: int, data: bytes) -> bytes:
    """Send bytes and return everything that comes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_connections_beyond_the_bound_are_closed_and_there_is_room_again_afterwards() -> None:
    async with served(answer, "127.0.0.1:0", None, 2) as listener, AsyncExitStack() as stack:
        open_ones = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(2)]
        for _, writer in open_ones:
            stack.callback(writer.close)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        for reader, _ in open_ones:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert await read_all(listener.port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == b""
        open_ones[0][1].close()
        async with asyncio.timeout(10):
            while not await read_all(listener.port, b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"):
                await asyncio.sleep(0.01)


async def test_a_caller_that_sends_no_whole_request_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.1)
    async with served(answer, "127.0.0.1:0", None, 10) as listener:
        assert await read_all(listener.port, b"GET / HTTP/1.1\r\nHo") == b""


@pytest.mark.parametrize(
    "data", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b"\x16\x03\x01\x00\r\n\r\n"]
)
async def test_a_malformed_request_is_a_400(data: bytes) -> None:
    async with served(answer, "127.0.0.1:0", None, 10) as listener:
        assert (await read_all(listener.port, data)).startswith(b"HTTP/1.0 400") or b" 400 " in (
            await read_all(listener.port, data)
        )[:20]


async def test_an_address_in_use_is_reported() -> None:
    async with served(answer, "127.0.0.1:0", None, 10) as listener:
        with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{listener.port}"):
            async with served(answer, f"127.0.0.1:{listener.port}", None, 10):
                pass


async def test_https_is_served_by_choice(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    made = authority.issue("localhost")
    context = ssl.create_default_context(cafile=str(authority.certificate))
    async with plant(source={"tls_cert": str(made.certificate), "tls_key": str(made.key)}) as running:
        url = running.url.replace("http://127.0.0.1", "https://localhost")
        async with running.http.get(f"{url}/health", ssl=context) as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await running.get("health")
