"""Every endpoint answers as the table says, over TCP and over the Unix socket.

Covers also: edgerouter.admin.api.endpoint, edgerouter.admin.api.reading, edgerouter.admin.api.changing,
edgerouter.admin.api.steering, edgerouter.admin.running.
"""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgerouter import Outcome
from edgerouter.errors import Rejected
from edgerouter.outcome import Failure
from support.admin_api import TOKEN, Box, box
from support.pipeline import configured, scripted, until


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Box]:
    async with box(tmp_path) as running:
        yield running


async def test_the_status_over_tcp_needs_no_token_on_loopback(it: Box) -> None:
    status = await it.get("/api/v1/status")

    assert status["running"] is True
    assert status["sinks"].keys() == {"out"}
    assert (await it.get("/api/status")).keys() == status.keys()


async def test_sinks_and_sources_are_listed_by_page_and_shown_by_name(it: Box) -> None:
    sinks = await it.get("/api/v1/sinks")
    source = await it.get("/api/v1/sources/web")

    assert [sink["name"] for sink in sinks["items"]] == ["out"]
    assert sinks["next"] is None
    assert await it.get("/api/v1/sinks?after=out") == {"items": [], "next": None}
    assert source["connected"] is True
    assert (await it.get("/api/v1/sinks/out"))["type"] == "file"
    missing = await it.get("/api/v1/sinks/x%3Cscript%3E", status=404)
    assert "those are: " in missing["detail"]


async def test_the_configuration_shows_origins_and_masks_the_token(it: Box) -> None:
    found = await it.get("/api/v1/configuration")
    settings = {item["path"]: item for item in found["items"]}

    assert settings["sources.web.type"]["value"] == "http"
    assert settings["sources.web.type"]["origin"].startswith(f"{it.file}:")
    assert settings["admin.tokens.ops.token"]["value"] == "'********'"
    assert TOKEN not in str(found)
    assert found["next"] is None
    first = await it.get("/api/v1/configuration?limit=2")
    assert [item["path"] for item in first["items"]] == [item["path"] for item in found["items"][:2]]
    assert (await it.get("/api/v1/configuration?limit=1&after=2"))["items"] == found["items"][2:3]


async def test_the_version_lists_the_plugins(it: Box) -> None:
    found = await it.get("/api/v1/version")

    assert ("sink", "file") in {(plugin["kind"], plugin["name"]) for plugin in found["plugins"]}


async def test_the_level_of_the_log_changes_until_the_next_start(it: Box) -> None:
    before = logging.getLogger("edgerouter").level
    try:
        await it.change("/api/v1/log-level", {"level": "debug"}, method="PUT")

        assert await it.get("/api/v1/log-level") == {"level": "debug"}
        assert "level" in (await it.change("/api/v1/log-level", {"level": "loud"}, method="PUT", status=400))["detail"]
    finally:
        logging.getLogger("edgerouter").setLevel(before)


async def test_a_reload_changes_to_the_file_as_it_is_now_or_says_why_not(it: Box, tmp_path: Path) -> None:
    text = it.file.read_text()
    it.file.write_text(text.replace("  out:", "  renamed:"))

    await it.change("/api/v1/reload")

    assert [item["name"] for item in (await it.get("/api/v1/sinks"))["items"]] == ["renamed"]
    it.file.write_text(text.replace("type: file", "type: nonsense"))
    refused = await it.change("/api/v1/reload", status=409)
    assert "nonsense" in refused["detail"]
    assert "nonsense" in (await it.get("/api/v1/configuration"))["error"]
    kinds = [item["kind"] for item in (await it.get("/api/v1/events"))["items"]]
    assert {"reloaded", "refused", "change"} <= set(kinds)


async def test_dead_letters_are_listed_shown_replayed_and_purged(tmp_path: Path) -> None:
    refuses = [True]
    sink = scripted(lambda batch: Outcome(failed=[Failure(0, Rejected("too hot"))]) if refuses else Outcome())
    async with box(tmp_path, sinks=[configured(sink)]) as it:
        await it.publish("a/b", b'{"v": 1}', b"<script>", b"3")
        await until(lambda: it.router.spool.status.dead_letters == 3)

        first = await it.get("/api/v1/dead-letters?limit=2&topic=a/%2B")
        assert [letter["message"]["payload"] for letter in first["items"]] == [{"v": 1}, "<script>"]
        assert first["total"] == 3
        second = await it.get(f"/api/v1/dead-letters?after={first['next']}")
        assert [letter["message"]["payload"] for letter in second["items"]] == [3]
        assert second["next"] is None
        number = first["items"][0]["number"]
        assert (await it.get(f"/api/v1/dead-letters/{number}"))["reason"] == "too hot"
        await it.get("/api/v1/dead-letters/999", status=404)
        await it.get("/api/v1/dead-letters/x", status=400)

        refuses.clear()
        assert await it.change("/api/v1/dead-letters/replay", {"numbers": [number]}) == {"messages": 1}
        assert await it.change("/api/v1/dead-letters/purge", {"sink": "sink"}) == {"messages": 2}
        assert (await it.get("/api/v1/dead-letters"))["total"] == 0


async def test_a_sink_and_a_source_are_paused_and_resumed_by_name(it: Box) -> None:
    assert (await it.change("/api/v1/sinks/out/pause"))["changed"] is True
    assert (await it.get("/api/v1/sinks/out"))["state"] == "paused"
    assert (await it.change("/api/v1/sources/web/pause"))["at_rest"] is True
    assert (await it.get("/api/v1/sources/web"))["paused"] is True
    assert (await it.change("/api/v1/sinks/out/resume"))["changed"] is True
    assert (await it.change("/api/v1/sources/web/resume"))["changed"] is True
    assert "is not a sink of this router" in (await it.change("/api/v1/sinks/none/pause", status=404))["detail"]


async def test_the_other_operations_answer_as_the_commands_do(it: Box) -> None:
    await it.publish("a", b"1")

    verified = await it.change("/api/v1/verify")
    assert verified["problems"] == []
    assert await it.change("/api/v1/replay", {"sink": "out", "topic": "b"}) == {"messages": 0}
    assert "out" in (await it.change("/api/v1/forget", {"sink": "out"}, status=409))["detail"]
    assert "a/#/b" in (await it.change("/api/v1/replay", {"sink": "out", "topic": "a/#/b"}, status=400))["detail"]


async def test_stored_messages_are_served_to_the_owner_alone(it: Box) -> None:
    await it.get("/api/v1/stored", status=403, Authorization=f"Bearer {TOKEN}")

    async with it.unix.get("/api/v1/stored") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=99999", "limit"),
        ("surprise=1", "surprise"),
        ("limit=1&limit=2", "twice"),
        ("after=-1", "after"),
        ("after=1e30", "after"),
    ],
)
async def test_arguments_that_are_not_valid_are_refused_by_name(it: Box, query: str, detail: str) -> None:
    refused = await it.get(f"/api/v1/events?{query}", status=400)

    assert detail in refused["detail"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"sink": 1}', b"[" * 5000, b'{"sink": "x", "more": 1}', b"null"])
async def test_a_body_that_is_not_valid_is_refused(it: Box, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    async with it.tcp.post("/api/v1/replay", data=body, headers=headers) as answer:
        assert answer.status == 400
        assert answer.content_type == "application/problem+json"


async def test_a_path_that_is_not_there_and_a_method_that_it_lacks_are_explained(it: Box) -> None:
    missing = await it.get("/api/v1/nothing", status=404)
    assert "/api/v1/openapi.json" in missing["detail"]
    wrong = await it.change("/api/v1/status", status=405)
    assert "GET" in wrong["detail"]


async def test_a_change_is_recorded_with_its_caller_and_result(it: Box) -> None:
    await it.change("/api/v1/verify")
    await it.change("/api/v1/forget", {"sink": "out"}, status=409)
    async with it.unix.post("/api/v1/verify", json={}) as answer:
        assert answer.status == 200

    changes = [event for event in (await it.get("/api/v1/events"))["items"] if event["kind"] == "change"]
    assert [change["by"] for change in changes[:2]] == ["token ops"] * 2
    assert changes[2]["by"].startswith("uid ")
    assert changes[0]["text"] == "POST /api/v1/verify: done"
    assert changes[1]["text"].startswith("POST /api/v1/forget: refused with 409")
