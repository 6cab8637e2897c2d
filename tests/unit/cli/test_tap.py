"""`edgerouter tap` shows hostile messages harmlessly, waits for a router, survives its restart, and says why it is refused.

Covers also: edgerouter.cli.tapped, edgerouter.admin.stream_client.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from edgerouter.admin import stream_client
from edgerouter.admin.client import NoRouter, Refused
from edgerouter.admin.stream_client import at_folder, at_url, events
from edgerouter.cli.tapped import line
from edgerouter.errors import EdgerouterError
from support.admin_api import TOKEN, box
from support.command import edgerouter, run
from support.mosquitto import free_port
from support.pipeline import until
from support.router import RouterProcess, router

HOSTILE = "\x1b]0;owned\x07\u202e<b>\nfake line\u2028" + "x" * 65_536


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[RouterProcess]:
    config = {
        "sources": {"web": {"type": "http", "listen": f"127.0.0.1:{free_port()}"}},
        "sinks": {"out": {"type": "file", "path": str(tmp_path / "out"), "steps": [{"type": "pick", "fields": ["t"]}]}},
        "admin": {"tap": True},
    }
    async with router(tmp_path, config) as process:
        yield process


class Tap:
    """The command in a process, as a terminal starts it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 60)).decode()

    async def said(self) -> str:
        assert self.process.stderr is not None
        return (await asyncio.wait_for(self.process.stderr.readline(), 60)).decode()


@asynccontextmanager
async def tapping(*arguments: object) -> AsyncIterator[Tap]:
    """Start `edgerouter tap` with these arguments."""
    process = await asyncio.create_subprocess_exec(
        # it is ignored where the tests run in the background
        "env", "--default-signal=INT", sys.executable, "-m", "edgerouter.cli.main", "tap", *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=2**20,
    )  # fmt: skip
    try:
        yield Tap(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def publish(process: RouterProcess, topic: str, payload: bytes) -> None:
    """Send one message to the router's HTTP source."""
    listen = process.config["sources"]["web"]["listen"]
    async with aiohttp.ClientSession() as http, http.post(f"http://{listen}/topics/{topic}", data=payload) as answer:
        assert answer.status == 202, await answer.text()


async def test_a_tap_waits_for_a_router_survives_its_restart_and_ends_well_with_ctrl_c(process: RouterProcess) -> None:
    async with tapping("a/#", "--spool", process.spool) as tap:
        assert "waiting for it" in await tap.said()
        for _ in range(2):
            await process.start()
            assert "messages that match a/#" in await tap.said()
            await publish(process, "b", b"other")
            await publish(process, "a/b", HOSTILE.encode())
            shown = await tap.line()
            assert shown.endswith(f"... ({len(HOSTILE.encode())} bytes)\n")
            assert r"a/b \x1b]0;owned\x07\u202e<b>\nfake line\u2028xxx" in shown
            assert shown.rstrip("\n").isprintable()
            assert len(shown) < 1500
            await process.kill()
            assert "waiting for it" in await tap.said()
        tap.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(tap.process.wait(), 30) == 0


async def test_a_tap_of_a_sink_ends_after_a_number_of_messages_as_json(process: RouterProcess) -> None:
    await process.start()
    async with tapping("#", "--sink", "out", "--after-steps", "--count", 1, "--json", "--spool", process.spool) as tap:
        assert "messages that match #" in await tap.said()
        await publish(process, "a", b'{"t": 1, "u": 2}')
        assert json.loads(await tap.line())["payload"] == '{"t":1}'
        assert await asyncio.wait_for(tap.process.wait(), 30) == 0
    assert "those are: out" in await refused("#", "--sink", "none", "--spool", process.spool)
    assert "must be the last level" in await refused("#/a", "--spool", process.spool, code=2)


@asynccontextmanager
async def served(body: bytes, content_type: str) -> AsyncIterator[str]:
    """Run a server that answers every request with this."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=body, content_type=content_type)

    server = await asyncio.get_running_loop().create_server(web.Server(answer), "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def refused(*arguments: object, code: int = 1) -> str:
    """Return the reason for which the command ends."""
    ended = await asyncio.to_thread(run, "tap", *arguments)
    assert ended.returncode == code, ended.stderr
    return ended.stderr


async def test_a_tap_that_is_off_says_how_it_is_turned_on(tmp_path: Path) -> None:
    async with box(tmp_path):
        assert "`admin.tap.enabled: true`" in await refused("#", "--spool", tmp_path / "spool")


async def test_a_router_elsewhere_is_tapped_by_its_url_with_a_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    async with box(tmp_path, tap=True) as it:
        url = f"http://127.0.0.1:{it.port}"
        assert "token" in await refused("#", "--url", url)
        shown = asyncio.create_task(edgerouter("tap", "#", "--url", url, "--token-file", token, "--count", 1))
        await until(lambda: it.router.taps.open, 60)
        await it.publish("a/b", b"21")
        assert (await shown).rstrip().endswith("a/b 21")


async def test_options_that_do_not_fit_together_are_refused() -> None:
    assert "--sink NAME" in await refused("#", "--after-steps", code=2)
    assert "--url" in await refused("#", "--token-file", "x", code=2)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://u:p@host", "http://h:x", "http://h?token=secret", "host:8080"])
def test_a_url_that_cannot_be_meant_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(EdgerouterError, match="--url") as raised:
        at_url(url, None, None)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"topic": "a", "payload": "AP8=", "encoding": "base64"}, "- a base64:AP8="),
        ({"topic": "a", "encoding": "none", "hidden": "private", "size": 6}, "- a (6 bytes: private)"),
        ({"topic": "a", "payload": "x", "retained": True, "at": "x"}, "- a x (retained)"),
        (
            {"topic": "a", "payload": "x", "user_properties": [["n\x1b", "v"], 7], "user_properties_left_out": 2},
            r"- a x [n\x1b = v, and 2 more]",
        ),
        ({}, "-"),
    ],
)
def test_each_message_is_one_line(message: dict[str, Any], shown: str) -> None:
    assert line(message).strip() == shown


@pytest.mark.parametrize(
    "body",
    [b"data: {\n\n", b"data: " + b"[" * 100_000 + b"\n\n", b"data: " + b"x" * 2 * 1024**2, b"data: 1"],
    ids=["half a document", "deep", "long", "cut off"],
)
async def test_a_stream_of_another_program_ends_as_a_router_that_is_gone(body: bytes) -> None:
    async with served(body, "text/event-stream") as url:
        address = at_url(url, None, None)
        with pytest.raises(NoRouter):
            await asyncio.to_thread(lambda: list(events(address, "/")))


async def test_an_answer_of_another_program_is_refused() -> None:
    async with served(b"[" * 100_000, "application/json") as url:
        address = at_url(url, None, None)
        with pytest.raises(Refused, match="HTTP 200 is not an answer of a router"):
            await asyncio.to_thread(lambda: list(events(address, "/")))


async def test_a_router_that_sends_no_sign_of_life_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stream_client, "SILENT_SECONDS", 0.2)
    async with box(tmp_path, tap=True):
        address = at_folder(tmp_path / "spool")
        with pytest.raises(NoRouter):
            await asyncio.to_thread(lambda: list(events(address, "/api/v1/tap")))
