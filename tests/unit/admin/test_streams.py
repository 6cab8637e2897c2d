"""Events are sent as they happen, resume after a lost connection, and a client that does not read holds up nothing.

Covers also: edgerouter.admin.api.events, edgerouter.admin.open_streams.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from edgerouter.admin import streams
from edgerouter.telemetry.events import MOST_EVENTS
from support.admin_api import Box, box
from support.event_streams import EventClient, event_client
from support.pipeline import until

HOSTILE = "\r\n\r\ndata: {}\n\nid: 7\n<script>alert(1)</script>\u2028\u202e\x00\x1b[2J"


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Box]:
    async with box(tmp_path) as running:
        yield running


async def until_the_end(client: EventClient) -> None:
    """Read until the server ends the stream."""
    with suppress(EOFError, ConnectionError):
        while True:
            await client.next()


async def test_events_are_sent_as_they_happen_with_their_numbers(it: Box) -> None:
    async with event_client(it.port) as client:
        assert await client.open("/api/v1/events") == 200
        assert "Content-Type: text/event-stream" in client.head
        await until(lambda: it.streams_open)
        it.router.events.add("sink", "out", HOSTILE, state="retrying")

        sent = await client.next()

    assert sent.data["text"] == HOSTILE, "no text is a line of the protocol, or markup"
    assert sent.data["state"] == "retrying"
    assert int(sent.number) == sent.data["id"]


async def test_a_client_that_returns_gets_what_it_missed_and_the_number_of_what_is_gone(it: Box) -> None:
    events = it.router.events
    last = events.last
    for number in range(3):
        events.add("sink", "out", str(number))
    async with event_client(it.port) as client:
        assert await client.open("/api/v1/events", Last_Event_ID=str(last)) == 200
        assert [(await client.next()).data["text"] for _ in range(3)] == ["0", "1", "2"]
    for number in range(MOST_EVENTS + 10):
        events.add("sink", "out", str(number))
    async with event_client(it.port) as client:
        assert await client.open(f"/api/v1/events?after={last + 3}") == 200
        missed = await client.next()
        assert (missed.kind, missed.data) == ("missed", {"events": 10})
        assert (await client.next()).data["text"] == "10"


@pytest.mark.parametrize("number", ["x", "-1", "9" * 30])
async def test_a_number_that_is_not_one_of_an_event_is_refused(it: Box, number: str) -> None:
    async with event_client(it.port) as client:
        assert await client.open("/api/v1/events", Last_Event_ID=number) == 400


async def test_a_client_that_does_not_read_is_left_behind_and_disconnected(it: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STALLED_SECONDS", 0.3)
    async with event_client(it.port, receive_buffer=4096) as slow, event_client(it.port) as quick:
        await slow.open("/api/v1/events")
        await quick.open("/api/v1/events")
        await until(lambda: it.streams_open == 2)
        reading = asyncio.create_task(until_the_end(quick))
        async with asyncio.timeout(30):
            while it.streams_open == 2:
                for _ in range(50):
                    it.router.events.add("sink", "out", "x" * 400)
                await asyncio.sleep(0.001)
        assert not reading.done(), "the other one goes on"
        assert (await it.get("/api/v1/status"))["running"] is True
        reading.cancel()


async def test_streams_are_bounded_and_a_client_that_is_gone_makes_room(it: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_STREAMS", 2)
    async with event_client(it.port) as first, event_client(it.port) as second, event_client(it.port) as third:
        assert await first.open("/api/v1/events") == 200
        assert await second.open("/api/v1/events") == 200
        assert await third.open("/api/v1/events") == 503
        assert "Retry-After" in third.head
        first.writer.transport.abort()
        await until(lambda: it.streams_open == 1)
        async with event_client(it.port) as fourth:
            assert await fourth.open("/api/v1/events") == 200


async def test_the_end_of_the_router_ends_the_streams(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with box(tmp_path) as it:
            client = await stack.enter_async_context(event_client(it.port))
            await client.open("/api/v1/events")
        await until_the_end(client)


async def test_a_silent_stream_shows_signs_of_life(it: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.05)
    async with event_client(it.port) as client:
        await client.open("/api/v1/events")
        assert b": alive" in await client.reader.readuntil(b": alive\n\n")
