"""A tap shows messages as they pass to callers that may see payloads, and leaves a trace.

Covers also: edgerouter.config.admin.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from edgerouter.admin.api import tap
from edgerouter.config.admin import AdminConfig
from support.admin_api import TOKEN, Box, box
from support.event_streams import EventClient, event_client
from support.pipeline import messages, until

READER = "token-of-readers-456789"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
TAP = {"enabled": True, "max_messages_per_second": 100, "redact": {"topics": ["private/#"], "fields": ["pin"]}}


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Box]:
    tokens = {"ops": {"token": TOKEN}, "reader": {"token": READER, "read_only": True}}
    async with box(tmp_path, tap=TAP, tokens=tokens) as running:
        yield running


async def opened(stack: AsyncExitStack, it: Box, query: str = "", token: str = TOKEN) -> EventClient:
    """Open a tap, and return once it looks."""
    before = it.router.taps.open
    client = await stack.enter_async_context(event_client(it.port))
    assert await client.open(f"/api/v1/tap?{query}", Authorization=f"Bearer {token}") == 200, client.head
    await until(lambda: it.router.taps.open == before + 1)
    return client


async def test_a_message_is_shown_as_it_passes_with_its_private_parts_hidden(it: Box) -> None:
    async with AsyncExitStack() as stack:
        client = await opened(stack, it, token=READER)
        await it.publish("a/b", b'{"t": 21, "pin": 4711}')
        await it.publish("private/a", b"secret")
        first, second = await client.next(), await client.next()
    assert (first.data["topic"], first.data["payload"]) == ("a/b", '{"t":21,"pin":"***"}')
    assert (second.data["encoding"], second.data["payload"], second.data["size"]) == ("none", "", 6)


async def test_a_tap_of_a_sink_shows_what_goes_to_it_before_and_behind_its_steps(tmp_path: Path) -> None:
    sink = {"type": "file", "path": str(tmp_path / "out"), "topics": ["a/#"], "steps": [{"type": "pick", "fields": ["t"]}]}
    async with box(tmp_path, section=sink, tap=True) as it, AsyncExitStack() as stack:
        before = await opened(stack, it, "sink=out")
        after = await opened(stack, it, "sink=out&after_steps=true&topic=a/%2B")
        await it.publish("b", b"{}")
        await it.publish("a/b", b'{"t":1,"u":2}')
        stored, written = (await before.next()).data, (await after.next()).data
    assert (stored["topic"], stored["payload"]) == ("a/b", '{"t":1,"u":2}')
    assert (written["topic"], written["payload"]) == ("a/b", '{"t":1}')
    assert stored["id"] == written["id"]
    assert stored["id"].endswith("-2")


async def test_more_messages_than_a_caller_gets_are_counted_in_the_stream(it: Box) -> None:
    async with AsyncExitStack() as stack:
        client = await opened(stack, it)
        it.router.taps.intake.show(messages(150, topic="a"))
        shown = missed = 0
        while shown + missed < 150:
            sent = await client.next()
            missed += sent.data["messages"] if sent.kind == "missed" else 0
            shown += sent.kind == ""
    assert (shown, missed) == (100, 50)


async def test_start_and_end_of_a_tap_are_recorded_with_the_caller_and_the_filter(it: Box) -> None:
    async with AsyncExitStack() as stack:
        await opened(stack, it, "topic=a/%23&sink=out")
    await until(lambda: not it.router.taps.open)
    begun, ended = [event for event in it.router.events.after(0).events if event.kind == "tap"]
    assert (begun.by, begun.state, begun.subject) == ("token ops", "open", "out")
    assert "messages that match a/#" in begun.text
    assert (ended.by, ended.state) == ("token ops", "closed")
    assert "has seen 0" in ended.text


async def test_payloads_need_a_token_on_loopback_too_and_the_owner_of_the_socket_none(it: Box) -> None:
    refused = await it.get("/api/v1/tap", status=401)
    assert "`admin.tokens`" in refused["detail"]
    async with it.unix.get("/api/v1/tap") as answer:
        assert answer.status == 200


async def test_a_page_of_another_origin_gets_no_tap(it: Box) -> None:
    foreign = ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Host": "evil.example"})
    for headers, status in zip(foreign, (403, 403, 421), strict=True):
        await it.get("/api/v1/tap", status=status, **BEARER, **headers)
    assert it.router.taps.open == 0


async def test_what_cannot_be_tapped_is_refused_with_the_reason(it: Box) -> None:
    for query, status, detail in (
        ("topic=a/%23/b", 400, "'#' must be the last level"),
        ("topic=", 400, "topic"),
        ("after_steps=true", 400, "`sink`"),
        ("after_steps=maybe&sink=out", 400, "after_steps"),
        ("sink=none", 404, "those are: out"),
        ("limit=1", 400, "limit"),
    ):
        assert detail in (await it.get(f"/api/v1/tap?{query}", status=status, **BEARER))["detail"]


async def test_a_tap_is_off_until_the_configuration_turns_it_on(tmp_path: Path) -> None:
    async with box(tmp_path) as it:
        refused = await it.get("/api/v1/tap", status=409, **BEARER)
        assert "admin.tap.enabled" in refused["detail"]
        async with it.unix.get("/api/v1/tap") as answer:
            assert answer.status == 409


async def test_taps_are_bounded_and_one_that_is_closed_makes_room(it: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "MOST_TAPS", 2)
    async with AsyncExitStack() as stack:
        first = await opened(stack, it)
        await opened(stack, it)
        assert "close one" in (await it.get("/api/v1/tap", status=503, **BEARER))["detail"]
        first.writer.transport.abort()
        await until(lambda: it.router.taps.open == 1)
        await opened(stack, it)


async def test_a_client_that_does_not_read_holds_up_no_message(it: Box) -> None:
    async with AsyncExitStack() as stack:
        slow = await stack.enter_async_context(event_client(it.port, receive_buffer=4096))
        assert await slow.open("/api/v1/tap", **BEARER) == 200
        quick = await opened(stack, it, "topic=last")
        for _ in range(20):
            await it.publish("a", *([b"x" * 100_000] * 5))
        await it.publish("last", b"1")
        assert (await quick.next()).data["topic"] == "last"
        status = it.router.status().sinks["out"]
        assert status.matched == 101


async def test_a_reload_that_replaces_the_sink_leaves_its_tap_open(tmp_path: Path) -> None:
    async with box(tmp_path, tap=True) as it, AsyncExitStack() as stack:
        client = await opened(stack, it, "sink=out")
        it.file.write_text(it.file.read_text().replace("type: file", "type: file\n    timeout: 20s"))
        await it.change("/api/v1/reload")
        await it.publish("a", b"1")
        assert (await asyncio.wait_for(client.next(), 10)).data["topic"] == "a"


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"redact": {"topics": ["a/#/b"]}}, "must be the last level"),
        ({"redact": {"fields": ["/a~b"]}}, "JSON pointer"),
        ({"preview_bytes": "1MiB"}, "4096"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(section: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        AdminConfig.model_validate({"tap": section})
