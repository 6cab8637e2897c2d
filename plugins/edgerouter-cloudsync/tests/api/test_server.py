"""Callers that are slow, silent or many keep no other caller out, and malformed requests are the caller's fault.

Covers: edgerouter_cloudsync.api.handler, edgerouter.http_server.serving.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from edgerouter import Unavailable
from edgerouter_cloudsync.api import handler
from edgerouter_cloudsync.api.openapi import BASE
from support.certificates import Authority
from support.cloudsync import plant
from support.mosquitto import free_port

PUBLISH = f"POST {BASE}/publish HTTP/1.1\r\nHost: localhost\r\n".encode()
MOST = 16
"""Connections of the source."""


async def connect(stack: AsyncExitStack, port: int, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection, which is aborted at the end, and send bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.push_async_callback(_closed, writer)
    writer.write(sent)
    return reader, writer


async def read_all(port: int, data: bytes) -> bytes:
    """Send bytes and return everything that comes until the connection ends."""
    async with AsyncExitStack() as stack:
        reader, _ = await connect(stack, port, data)
        async with asyncio.timeout(30):
            return await reader.read()


@pytest.mark.parametrize(
    "sent", [b"", PUBLISH, PUBLISH + b"Content-Length: 100\r\n\r\nhalf of it"], ids=["nothing", "half a head", "half a body"]
)
async def test_callers_that_send_no_whole_request_keep_no_other_caller_out(sent: bytes, listed: Mapping[str, Any]) -> None:
    """The one that has waited longest gives way: 512 silent ones kept every other caller out for ten seconds at a time."""
    async with plant(source={"max_connections": MOST}, **listed) as running, AsyncExitStack() as stack:
        held = [await connect(stack, running.source.port, sent) for _ in range(4 * MOST)]
        assert (await running.publish("broker.example"))[0] == 200
        ended = [asyncio.create_task(_end_of(reader), name="end") for reader, _ in held[: 3 * MOST]]
        await asyncio.wait_for(asyncio.gather(*ended), 30)


async def test_callers_that_read_no_answers_keep_no_other_caller_out(listed: Mapping[str, Any]) -> None:
    """Each held its connection for ever."""
    many = f"GET {BASE}/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 200
    async with plant(source={"max_connections": MOST}, **listed) as running, AsyncExitStack() as stack:
        for _ in range(MOST):
            _, writer = await connect(stack, running.source.port, many)
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket has it
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert (await running.publish("broker.example"))[0] == 200


async def test_a_caller_that_waits_for_100_continue_is_asked_for_its_body(listed: Mapping[str, Any]) -> None:
    """Go's server, which CloudSync used, asks; curl waits for a second, and stricter clients for ever."""
    body = json.dumps({"appid": "reader", "payload": "21.5", "topic": "home", "url": "broker.example"}).encode()
    async with plant(**listed) as running, AsyncExitStack() as stack:
        head = PUBLISH + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        reader, writer = await connect(stack, running.source.port, head)
        async with asyncio.timeout(30):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert b"published successfully" in await reader.read()


async def test_a_body_that_would_be_refused_is_not_asked_for(listed: Mapping[str, Any]) -> None:
    async with plant(**listed) as running:
        head = PUBLISH + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 100000000\r\n\r\n"
        assert (await read_all(running.source.port, head)).startswith(b"HTTP/1.1 413 ")


async def test_a_caller_that_leaves_in_the_middle_of_its_body_is_not_logged_as_an_error(listed: Mapping[str, Any]) -> None:
    """Each left a traceback in the log."""
    with capture_logs() as logs:
        async with plant(**listed) as running, AsyncExitStack() as stack:
            _, writer = await connect(stack, running.source.port, PUBLISH + b"Content-Length: 100\r\n\r\nhalf")
            await writer.drain()
            while not running.source.connections:
                await asyncio.sleep(0)
            writer.transport.abort()
            while running.source.connections:
                await asyncio.sleep(0)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_bodies_that_are_still_coming_are_bounded_together(
    monkeypatch: pytest.MonkeyPatch, listed: Mapping[str, Any]
) -> None:
    """512 callers held 128 MiB with the defaults. What is refused leaves its room to others."""
    monkeypatch.setattr(handler, "MOST_HELD_BYTES", 300_000)
    half = PUBLISH + b"Content-Length: 200000\r\n\r\n" + bytes(100_000)
    async with plant(**listed) as running, AsyncExitStack() as stack:
        readers = [(await connect(stack, running.source.port, half))[0] for _ in range(8)]
        heads = [asyncio.create_task(reader.readline(), name="head") for reader in readers]
        async with asyncio.timeout(30):
            done, _ = await asyncio.wait(heads[:], return_when=asyncio.FIRST_COMPLETED)
            assert {task.result() for task in done} == {b"HTTP/1.1 503 Service Unavailable\r\n"}
            for task in heads:
                task.cancel()
            await asyncio.wait(heads)
        assert (await running.publish("broker.example"))[0] == 200


@pytest.mark.parametrize(
    "data", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"\x16\x03\x01\x00\r\n\r\n"]
)
async def test_a_malformed_request_is_a_400(data: bytes, listed: Mapping[str, Any]) -> None:
    async with plant(**listed) as running:
        assert b" 400 " in (await read_all(running.source.port, data))[:20]


async def test_a_name_is_listened_on_with_all_its_addresses(monkeypatch: pytest.MonkeyPatch, listed: Mapping[str, Any]) -> None:
    """`localhost` has two on most machines, and callers use either."""
    port = free_port()
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", port)) for last in (1, 2)]
    with monkeypatch.context() as patched:
        patched.setattr("edgerouter.http_server.listen.socket.getaddrinfo", lambda *_, **__: both)
        opened = plant(source={"listen": f"localhost:{port}"}, **listed)
        running = await opened.__aenter__()
    try:
        for host in ("127.0.0.1", "127.0.0.2"):
            async with running.http.get(f"http://{host}:{port}{BASE}/health") as response:
                assert response.status == 200
    finally:
        await opened.__aexit__(None, None, None)


async def test_an_address_in_use_is_reported(listed: Mapping[str, Any]) -> None:
    async with plant(**listed) as running:
        with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{running.source.port}"):
            async with plant(source={"listen": f"127.0.0.1:{running.source.port}"}, **listed):
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


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def _end_of(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        await reader.read()
