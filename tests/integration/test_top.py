"""`top` shows on a real terminal what the API says, obeys its keys, and leaves the terminal as it was.

Covers: edgerouter.cli.top.session, edgerouter.cli.top.terminal, edgerouter.cli.top.looking, edgerouter.cli.top.overview,
edgerouter.cli.top.details, edgerouter.cli.top.view, edgerouter.cli.top.snapshot, edgerouter.cli.status, edgerouter.admin.client.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from support.command import run
from support.http_service import http_service
from support.mosquitto import free_port
from support.router import RouterProcess, router
from support.screen import Screen, screen, shell
from support.stopped import freeze

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202egnp"
QUICK = ("--interval", "0.2")


def row(text: str, name: str) -> list[str]:
    """Return the cells of the row of a sink or source."""
    found = (line for line in text.splitlines() if re.match(rf"[> ] {name} ", line))
    return next(found, "").removeprefix(">").split()


def configuration(url: str, folder: Path, port: int) -> dict[str, Any]:
    retry = {"first_delay": "50ms", "max_delay": "50ms"}
    return {
        "sources": {"web": {"type": "http", "listen": f"127.0.0.1:{port}"}},
        "sinks": {
            "archive": {"type": "file", "path": str(folder / "out" / "{date}.jsonl"), "batch": {"linger": 0}},
            "cloud": {"type": "http", "url": url, "retry": retry, "batch": {"linger": 0}},
        },
    }


async def publish(port: int, messages: int) -> None:
    async with aiohttp.ClientSession() as client:
        for _ in range(messages):
            async with client.post(f"http://127.0.0.1:{port}/topics/plant/temp", data=b"21") as answer:
                assert answer.status < 300, await answer.text()


async def refuse(_: web.Request) -> web.Response:
    return web.Response(status=503, text=HOSTILE)


async def test_the_screen_has_the_numbers_of_the_router_and_obeys_its_keys(tmp_path: Path) -> None:
    port = free_port()
    async with http_service(refuse) as url, router(tmp_path, configuration(url, tmp_path, port)) as process:
        await process.start()
        await publish(port, 12)
        status = await process.until(lambda status: status["sinks"]["archive"]["delivered"] == 12)
        async with screen("top", "--spool", process.spool, *QUICK) as top:
            await _shows(top, status)
            await _is_steered(top, process)
            await _is_resized(top)
            await _is_held(top, port)


async def test_the_screen_waits_for_a_router_and_survives_its_silence_and_its_restart(tmp_path: Path) -> None:
    config = configuration("http://127.0.0.1:1", tmp_path, free_port())
    async with router(tmp_path, config) as process, screen("top", "--spool", process.spool, *QUICK) as top:
        await top.until(lambda text: "Waiting for a router" in text and "no router runs" in text)
        await process.start()
        await top.until(lambda text: "archive" in text)
        freeze(process.pid)
        await top.until(lambda text: "the router hangs, or is busy" in text)
        os.kill(process.pid, signal.SIGCONT)
        await top.until(lambda text: "no answer" not in text)
        await process.kill()
        await top.until(lambda text: "no answer for" in text and "no router runs" in text and "archive" in text)
        await process.start()
        await top.until(lambda text: "the router was restarted" in text and "no answer" not in text)
        top.press("q")
        assert await top.ended() == 0
        assert top.mode == (True, True), "what is typed is shown again"


async def _shows(top: Screen, status: dict[str, Any]) -> None:
    """Numbers are those of the API, and a hostile answer of a service is text."""
    text = await top.until(
        lambda text: row(text, "cloud")[3:4] == ["12"] and "retrying" in text and row(text, "archive")[3:4] == ["0"]
    )
    assert row(text, "web")[:4] == ["web", "connected", row(text, "web")[2], str(status["sources"]["web"]["messages"])]
    titles = next(line for line in text.splitlines() if line.startswith("SINK")).split()
    assert titles[:4] == ["SINK", "STATE", "A", "SECOND"]
    assert titles[4:7] == ["PENDING", "OLDEST", "RETRIES"]
    assert f"edgerouter {status['version']} on {status['host']}" in text
    top.press("j\r")
    text = await top.until(lambda text: "Cannot deliver, retrying" in text and "EVENTS" in text)
    assert "Its messages wait in the spool" in text
    assert f"matched {status['sinks']['cloud']['matched']} = delivered 0" in text
    assert "503" in await top.until(lambda text: text.count("503") > 1), "in the error, and in an event"
    assert b"\x1b]0;owned" not in top.raw
    assert "\u202e" not in top.text
    top.press("\x1b")
    await top.until(lambda text: "SINK" in text)


async def _is_steered(top: Screen, process: RouterProcess) -> None:
    top.press("pn")
    await top.until(lambda text: "Pause cloud?" not in text)
    assert (await process.status())["sinks"]["cloud"]["state"] == "retrying", "only `y` pauses it"
    top.press("p")
    await top.until(lambda text: "Pause cloud?" in text)
    top.press("y")
    await process.until(lambda status: status["sinks"]["cloud"]["state"] == "paused")
    await top.until(lambda text: "cloud is paused" in text and row(text, "cloud")[1:2] == ["paused"])
    top.press("py")
    await process.until(lambda status: status["sinks"]["cloud"]["state"] != "paused")
    top.press("ss")
    await top.until(lambda text: "sorted by state" in text and text.index("cloud ") < text.index("archive "))
    top.press("/arch\r")
    await top.until(lambda text: "> archive" in text and "cloud " not in text)
    top.press("\x1b?")
    await top.until(lambda text: "reverse the order" in text)
    top.press("?")
    await top.until(lambda text: "SINK" in text and "cloud " in text)


async def _is_resized(top: Screen) -> None:
    for columns, lines, shown in (
        (40, 24, "archive"),
        (250, 60, "DELIVERED"),
        (20, 5, "edgerouter"),
        (1, 1, ""),
        (80, 24, "RETRIES"),
    ):
        top.resize(columns, lines)
        await top.until(lambda text, shown=shown, wide=columns == 250: shown in text and ("DELIVERED" in text) is wide)  # type: ignore[misc]


async def _is_held(top: Screen, port: int) -> None:
    top.press(" ")
    before = await top.until(lambda text: "the screen is held" in text)
    await publish(port, 1)
    await asyncio.sleep(0.5)  # two looks
    top.read()
    assert row(top.text, "web") == row(before, "web")
    top.press(" ")
    await top.until(lambda text: row(text, "web")[3:4] == ["13"])


@pytest.mark.parametrize(("end", "code"), [("q", 0), ("\x03", 0), (signal.SIGTERM, -15), (signal.SIGHUP, -1), (signal.SIGQUIT, -3)])
async def test_the_terminal_is_as_it_was_however_top_ends(tmp_path: Path, end: str | signal.Signals, code: int) -> None:
    async with screen("top", "--spool", tmp_path) as top:
        assert top.mode == (True, True)
        await top.until(lambda text: "Waiting for a router" in text)
        assert top.mode == (False, False)
        if isinstance(end, str):
            top.press(end)
        else:
            top.process.send_signal(end)
        assert await top.ended() == code
        assert top.mode == (True, True)
        assert top.raw.endswith(b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"), "colours, wrapping, cursor and the screen before"


async def test_a_shell_gets_its_terminal_back_at_ctrl_z_and_top_draws_anew_in_the_foreground(tmp_path: Path) -> None:
    environment = {"PS1": "ready$ ", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    async with shell(environment=environment) as bash:
        await bash.until(lambda text: "ready$" in text)
        bash.press(f"edgerouter top --spool {tmp_path}\r")
        await bash.until(lambda text: "Waiting for a router" in text, 60)
        bash.press("\x1a")
        await bash.until(lambda text: "Stopped" in text)
        assert bash.raw.count(b"\x1b[?1049h") == bash.raw.count(b"\x1b[?1049l") == 1
        bash.press("fg\r")
        await bash.until(lambda _: bash.raw.count(b"\x1b[?1049h") == 2)
        await bash.until(lambda text: "Waiting for a router" in text)
        bash.press("q")
        await bash.until(lambda _: bash.raw.count(b"\x1b[?1049l") == 2)
        bash.press("echo again; exit\r")
        await bash.until(lambda text: "\nagain" in text)


async def test_without_colours_where_they_are_not_wanted(tmp_path: Path) -> None:
    async with screen("top", "--spool", tmp_path, environment={"NO_COLOR": "1"}) as top:
        await top.until(lambda text: "no router runs" in text)
        top.press("q")
        await top.ended()
        assert not re.search(rb"\x1b\[[0-9;]*(3[0-9]|4[0-9]|9[0-9])[;m]", top.raw)


async def test_a_pipe_gets_the_numbers_once(tmp_path: Path) -> None:
    missing = await asyncio.to_thread(run, "top", "--spool", tmp_path)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "no router runs" in missing.stderr
    port = free_port()
    async with router(tmp_path, configuration("http://127.0.0.1:1", tmp_path, port)) as process:
        late = asyncio.create_task(asyncio.to_thread(run, "top", "--spool", process.spool, "--seconds", "60", *QUICK))
        await process.start()
        once = await late
        assert once.returncode == 0, once.stderr
        assert "\x1b" not in once.stdout
        assert re.search(r"archive +file +(starting|idle) +0 +never", once.stdout), once.stdout
