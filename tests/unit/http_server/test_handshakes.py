"""TLS connections that do not complete their handshake are bounded, and keep no other client out."""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

import aiohttp

from support.certificates import Authority
from support.http_source import serving
from support.pipeline import until


async def test_silent_connections_beyond_the_bound_give_way_to_a_client_that_completes_its_handshake(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server = authority.issue("localhost")
    tls = {"cert": str(server.certificate), "key": str(server.key)}
    async with serving(tls=tls, max_connections=10) as web:
        held = [await asyncio.open_connection("127.0.0.1", web.port) for _ in range(60)]
        ended = [asyncio.create_task(read_to_end(reader)) for reader, _ in held]
        await until(lambda: sum(task.done() for task in ended) >= 50)
        async with aiohttp.ClientSession() as http:
            url, context = f"https://localhost:{web.port}/topics/a", ssl.create_default_context(cafile=str(authority.certificate))
            async with http.post(url, data=b"1", ssl=context) as answer:
                assert answer.status == 202
        for _, writer in held:
            writer.transport.abort()
        await asyncio.gather(*ended)


async def test_a_handshake_has_the_time_of_a_head(tmp_path: Path) -> None:
    server = Authority(tmp_path / "ca").issue("localhost")
    tls = {"cert": str(server.certificate), "key": str(server.key)}
    async with serving(tls=tls, head_timeout="200ms") as web, web.client() as client:
        assert await client.closed()


async def read_to_end(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        await reader.read()
