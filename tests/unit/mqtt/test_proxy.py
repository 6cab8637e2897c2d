"""A connection through an HTTP or SOCKS proxy, and what the operator reads when there is none."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import pytest
from pydantic import ValidationError

from edgerouter.errors import Unauthorized, Unavailable
from edgerouter.mqtt.link import Policy
from edgerouter.mqtt.publications import Answer, Publication
from edgerouter.mqtt.publisher import Publisher
from edgerouter.mqtt.settings import BrokerSettings
from support.strict_broker import strict_broker

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
USER, PASSWORD = "me", "s3cr3t/@"


class Proxy:
    """Serves one protocol, and passes the bytes on to where it was asked to connect."""

    def __init__(self, handshake: Callable[[Proxy, Reader, Writer], Awaitable[int]]) -> None:
        self._handshake = handshake
        self.port = 0
        self.connected: list[str] = []

    async def take(self, reader: Reader, writer: Writer) -> None:
        try:
            port = await self._handshake(self, reader, writer)
            if port:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.wait(
                    [asyncio.ensure_future(_pass(reader, far_writer)), asyncio.ensure_future(_pass(far_reader, writer))]
                )
        finally:
            writer.close()


async def _pass(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


async def http(proxy: Proxy, reader: Reader, writer: Writer) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if f"Proxy-Authorization: Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}" not in head:
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        return 0
    place = head.split()[1]
    proxy.connected.append(place)
    writer.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
    return int(place.rpartition(":")[2])


async def socks(proxy: Proxy, reader: Reader, writer: Writer) -> int:
    _, count = await reader.readexactly(2)
    if 2 not in await reader.readexactly(count):
        writer.write(b"\x05\xff")
        return 0
    writer.write(b"\x05\x02")
    _, length = await reader.readexactly(2)
    user = await reader.readexactly(length)
    password = await reader.readexactly((await reader.readexactly(1))[0])
    if (user.decode(), password.decode()) != (USER, PASSWORD):
        writer.write(b"\x01\x01")
        return 0
    writer.write(b"\x01\x00")
    assert await reader.readexactly(4) == b"\x05\x01\x00\x03"
    host = await reader.readexactly((await reader.readexactly(1))[0])
    port = int.from_bytes(await reader.readexactly(2))
    proxy.connected.append(f"{host.decode()}:{port}")
    writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    return port


async def endless(_: Proxy, __: Reader, writer: Writer) -> int:
    writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000)
    await writer.drain()
    return 0


async def no_proxy(_: Proxy, __: Reader, writer: Writer) -> int:
    writer.write(b"220 smtp\r\n\r\n")
    return 0


@asynccontextmanager
async def running(handshake: Callable[[Proxy, Reader, Writer], Awaitable[int]]) -> AsyncIterator[Proxy]:
    proxy = Proxy(handshake)
    server = await asyncio.start_server(proxy.take, "127.0.0.1")
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy


@asynccontextmanager
async def through(broker_port: int, proxy: str) -> AsyncIterator[Publisher]:
    settings = BrokerSettings.model_validate({"url": f"mqtt://localhost:{broker_port}", "proxy": proxy, "connect_timeout": 3})
    publisher = Publisher(settings, Policy("publisher", 1, 100, retains=False), "5", "test")
    try:
        yield publisher
    finally:
        await publisher.close()


@pytest.mark.parametrize(("scheme", "handshake"), [("http", http), ("socks5", socks)])
async def test_the_proxy_connects_by_the_brokers_name_with_its_own_credentials(
    scheme: str, handshake: Callable[[Proxy, Reader, Writer], Awaitable[int]]
) -> None:
    async with strict_broker() as broker, running(handshake) as proxy:
        async with through(broker.port, f"{scheme}://{USER}:s3cr3t%2F%40@127.0.0.1:{proxy.port}") as publisher:
            link = await publisher.connected()
            assert await link.publish([Publication("t", b"x", retain=False, properties=b"\x00")]) == [Answer(0)]
        assert proxy.connected == [f"localhost:{broker.port}"]


@pytest.mark.parametrize(
    ("scheme", "handshake", "said"),
    [
        ("http", http, "407 Proxy Authentication Required"),
        ("http", endless, "does not end"),
        ("http", no_proxy, "does not answer in HTTP"),
        ("socks5", socks, "user name or password is wrong"),
        ("socks5", no_proxy, "does not speak SOCKS 5"),
    ],
)
async def test_a_proxy_that_refuses_is_named_with_its_reason_and_without_its_password(
    scheme: str, handshake: Callable[[Proxy, Reader, Writer], Awaitable[int]], said: str
) -> None:
    async with running(handshake) as proxy, through(1883, f"{scheme}://{USER}:wr0ng@127.0.0.1:{proxy.port}") as publisher:
        with pytest.raises(Unauthorized, match=said) as refused:
            await publisher.connected()
    assert f"127.0.0.1:{proxy.port}" in str(refused.value)
    assert "wr0ng" not in str(refused.value)


async def test_a_proxy_that_is_away_is_unavailable() -> None:
    async with through(1883, "http://127.0.0.1:1") as publisher:
        with pytest.raises(Unavailable, match=r"the proxy 127\.0\.0\.1:1 cannot be reached") as away:
            await publisher.connected()
    assert not isinstance(away.value, Unauthorized)


@pytest.mark.parametrize("url", ["ftp://proxy:1", "proxy:3128", "http://", "http://x:99999", "socks5://" + "u" * 256 + ":p@h"])
def test_a_url_that_names_no_usable_proxy_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        BrokerSettings.model_validate({"url": "mqtt://x", "proxy": url.replace("//", "//me:s3cr3t@")})
    assert "s3cr3t" not in str(refused.value)
