"""The parser takes messages in pieces of any length, and no more than its bounds."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from edgerouter_nats.parser import MOST_LINE_BYTES, Arrived, Parser, Skipped


class Recorder:
    """Handlers and listener in one."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.messages: list[Arrived] = []

    def arrived(self, messages: list[Arrived]) -> None:
        self.messages += messages
        self.events += messages

    def skipped(self, message: Skipped) -> None:
        self.events.append(message)

    async def on_message(self, sid: int, subject: bytes, reply: bytes, payload: bytes, headers: bytes) -> None:
        self.events.append((sid, subject, reply, payload, headers))

    async def on_error(self, text: str) -> None:
        self.events.append(text)

    async def on_info(self, text: bytes) -> None:
        self.events.append(text)

    async def on_ping(self) -> None:
        self.events.append("ping")

    async def on_pong(self) -> None:
        self.events.append("pong")


def parsed(data: bytes, *, cuts: tuple[int, ...] = (), most: int = 1000) -> Recorder:
    recorder = Recorder()
    parser = Parser(recorder, most)
    parser.listeners[1] = recorder

    async def feed() -> None:
        places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        for start, end in itertools.pairwise(places):
            await parser.parse(data[start:end])

    asyncio.run(feed())
    return recorder


STREAM = (
    b"PING\r\n+OK\r\nMSG a.b 1 5\r\nhello\r\nHMSG a.c 1 _INBOX.x 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"
    b"-ERR 'Permissions Violation'\r\nMSG d 1 1001\r\n" + b"x" * 1001 + b"\r\nmsg e  1  r  0\r\n\r\nMSG f 2 1\r\n.\r\nPONG\r\n"
)


@given(st.lists(st.integers(0, 10_000), max_size=20))
def test_a_stream_means_the_same_however_it_is_cut(cuts: list[int]) -> None:
    recorder = parsed(STREAM, cuts=tuple(cuts))
    assert recorder.events == [
        "ping",
        Arrived("a.b", "", b"", b"hello"),
        Arrived("a.c", "_INBOX.x", b"NATS/1.0\r\n\r\n", b"hi"),
        "Permissions Violation",
        Skipped("d", "", 1001),
        Arrived("e", "r", b"", b""),
        (2, b"f", b"", b".", b""),
        "pong",
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"MSG a 1\r\n",
        b"MSG a one 5\r\nhello\r\n",
        b"MSG a 1 -5\r\nhello\r\n",
        b"MSG a 1 5\r\nhello world\r\n",
        b"HMSG a 1 20 5\r\nhello\r\n",
        b"MSG \xff 1 2\r\nhi\r\n",
        b"x" * (MOST_LINE_BYTES + 1),
    ],
)
def test_what_is_not_the_protocol_ends_the_connection(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parsed(data)


def test_a_message_of_any_announced_length_costs_no_memory() -> None:
    recorder = Recorder()
    parser = Parser(recorder, 1000)
    parser.listeners[1] = recorder

    async def feed() -> None:
        await parser.parse(b"MSG a 1 999999999999\r\n")
        for _ in range(100):
            await parser.parse(bytes(32_768))

    asyncio.run(feed())
    assert recorder.events == [Skipped("a", "", 999_999_999_999)]
    assert parser.held == 0


def test_a_large_message_in_small_pieces_is_not_looked_at_each_time() -> None:
    payload = bytes(4_000_000)
    data = b"MSG a 1 4000000\r\n" + payload + b"\r\n"
    began = time.process_time()
    recorder = parsed(data, cuts=tuple(range(0, len(data), 1000)), most=5_000_000)
    assert len(recorder.messages[0].payload) == len(payload)
    assert time.process_time() - began < 2
