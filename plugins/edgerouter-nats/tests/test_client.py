"""A server that lies, floods or is silent costs a bounded time and a bounded amount of memory, and is reported as unavailable."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client
from nats.aio.transport import TcpTransport

from edgerouter import Unavailable
from edgerouter_nats.connection import Connection, connect
from edgerouter_nats.parser import Arrived, Skipped
from edgerouter_nats.settings import NatsSettings

INFO = b'INFO {"server_id":"x","version":"2.15.0","proto":1,"headers":true,"max_payload":1048576}\r\n'
MOST_MEMORY = 8 * 1024**2
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def hostile(talk: Talk, *, connect_timeout: float = 1.0) -> AsyncIterator[NatsSettings]:
    """Serve connections with raw bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield NatsSettings(servers=(f"nats://127.0.0.1:{port}",), connect_timeout=connect_timeout)
        server.close()


async def endlessly(writer: asyncio.StreamWriter, data: bytes, times: int = 2000) -> None:
    for _ in range(times):
        writer.write(data)
        await writer.drain()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, info: bytes = INFO) -> None:
    """Let a client in."""
    writer.write(info)
    await reader.readuntil(b"PING\r\n")
    writer.write(b"PONG\r\n")


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def half_a_greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(INFO)
    await reader.read(1_000_000)
    await reader.read()


async def giant_info(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'INFO {"connect_urls":["')
    await endlessly(writer, b"x" * 65_536)


async def nested_info(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"INFO " + b"[" * 30_000 + b"\r\n")
    await writer.drain()


async def no_object(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"INFO 7\r\n")
    await writer.drain()


async def another_protocol(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await writer.drain()


async def another_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(INFO)
    await reader.readuntil(b"PING\r\n")
    writer.write(b"+OK\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    "talk",
    [silence, half_a_greeting, giant_info, nested_info, no_object, another_protocol, another_answer],
    ids=lambda talk: talk.__name__,
)
async def test_a_server_that_does_not_let_us_in_is_unavailable_in_time_and_within_memory(talk: Talk) -> None:
    tracemalloc.start()
    try:
        async with hostile(talk) as settings:
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await connect(settings, "test")
            assert time.monotonic() - began < 5
            assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


async def endless_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greet(reader, writer)
    await endlessly(writer, b"x" * 65_536)


async def giant_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greet(reader, writer)
    writer.write(b"MSG a 1 99999999999\r\n")
    await endlessly(writer, b"x" * 65_536, 500)


async def wrong_length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greet(reader, writer)
    writer.write(b"MSG a 1 3\r\nhello\r\n")
    await reader.read()


async def many_servers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greet(reader, writer)
    for start in range(0, 200_000, 1000):
        names = ",".join(f'"10.0.0.1:{start + number}"' for number in range(1000)).encode()
        writer.write(b'INFO {"connect_urls":[' + names + b"]}\r\n")
        await writer.drain()


async def many_pongs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greet(reader, writer)
    await endlessly(writer, b"PONG\r\n" * 10_000, 20)


class Ignored:
    """Listener that takes no notice."""

    def arrived(self, messages: list[Arrived]) -> None: ...

    def skipped(self, message: Skipped) -> None: ...


@pytest.mark.parametrize(
    "talk", [endless_line, giant_message, wrong_length, many_servers, many_pongs], ids=lambda talk: talk.__name__
)
async def test_a_server_that_misbehaves_later_costs_a_bounded_amount_of_memory(talk: Talk) -> None:
    async with hostile(talk, connect_timeout=20) as settings:
        tracemalloc.start()
        try:
            connection = await connect(settings, "test")
            connection.client.listen(Ignored(), "a")
            await asyncio.wait_for(connection.client.lost, 20)
            assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
        finally:
            tracemalloc.stop()
        assert isinstance(connection.error, Unavailable)
        await connection.close()


async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greet(reader, writer)
    await reader.read()


async def test_a_server_that_answers_nothing_is_given_up_in_time() -> None:
    async with hostile(never_answers) as settings:
        connection = await connect(settings, "test")
        with pytest.raises(Unavailable, match="no answer within"):
            await connection.flush(0.2)
        await closed(connection)


async def closed(connection: Connection) -> None:
    began = time.monotonic()
    await connection.close()
    assert time.monotonic() - began < 5
    assert connection.lost


async def test_a_max_payload_that_is_not_a_number_is_ignored() -> None:
    async def lies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer, INFO.replace(b"1048576", b'"much"'))
        await reader.read()

    async with hostile(lies) as settings:
        connection = await connect(settings, "test")
        assert connection.max_payload == 1024**2
        await connection.close()


def test_nats_py_still_has_the_names_that_the_client_reaches_into() -> None:
    client = Client()
    names = ("_ps", "_pongs", "_sid", "_server_info", "_transport", "_reading_task", "_ping_interval_task", "_flusher_task")
    calls = ("_process_msg", "_process_err", "_process_ping", "_process_pong", "_process_info")
    assert [name for name in (*names, *calls, "_max_payload") if not hasattr(client, name)] == []
    assert [name for name in ("write", "drain", "close") if not hasattr(TcpTransport, name)] == []
