"""A router whose admin server is on the Unix socket alone imports it with the first caller, and answers every caller."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml
from structlog.testing import capture_logs

from edgerouter import plugins
from edgerouter.admin.listen import unix_connection
from edgerouter.app import Router
from support.mosquitto import free_port
from support.pipeline import until


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Router]:
    """Run a router without `admin.listen` until left."""
    config = {
        "sources": {"web": {"type": "http", "listen": f"127.0.0.1:{free_port()}"}},
        "sinks": {"out": {"type": "file", "path": str(folder / "out")}},
        "spool": {"path": str(folder)},
        "shutdown": {"grace": 0},
    }
    file = folder / "edgerouter.yaml"
    file.write_text(yaml.safe_dump(config))
    router, stop = Router(plugins.load(file, {})), asyncio.Event()
    task = asyncio.create_task(router.run(stop), name="router")
    try:
        async with asyncio.timeout(30):
            await router.running.wait()
        yield router
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


def caller(folder: Path) -> aiohttp.ClientSession:
    """Return a client of the Unix socket that makes as many connections as it has requests."""
    return aiohttp.ClientSession("http://edgerouter", connector=aiohttp.UnixConnector(str(folder / "control.sock"), limit=0))


async def test_callers_that_come_before_the_server_is_there_are_all_answered(tmp_path: Path) -> None:
    async with running(tmp_path), caller(tmp_path) as http:

        async def ask() -> int:
            async with http.get("/api/v1/status") as answer:
                return answer.status

        assert await asyncio.gather(*[ask() for _ in range(30)]) == [200] * 30


async def test_a_spool_whose_path_is_too_long_for_a_sockets_name_answers_its_first_caller_too(tmp_path: Path) -> None:
    """Such a socket is bound by the descriptor of its folder, which others have by then."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    async with running(folder), AsyncExitStack() as stack:
        for _ in range(100):
            stack.enter_context((folder / "edgerouter.yaml").open())
        connection = unix_connection(folder)
        connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_router_without_a_caller_stops_and_refuses_callers_afterwards(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    with pytest.raises(ConnectionRefusedError):
        unix_connection(tmp_path)


async def test_the_end_of_the_router_ends_the_stream_of_its_first_caller(tmp_path: Path) -> None:
    async with caller(tmp_path) as http:
        async with running(tmp_path) as router:
            answer = await http.get("/api/v1/events", headers={"Accept": "text/event-stream"})
            assert answer.status == 200
            await until(lambda: len(router.streams) == 1)
        assert await answer.read() is not None
        assert answer.content.at_eof()


async def test_a_server_that_cannot_be_imported_refuses_its_callers_and_the_router_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "edgerouter.admin.site", None)
    with capture_logs() as logged:
        async with running(tmp_path) as router, caller(tmp_path) as http:
            with pytest.raises(aiohttp.ClientError):
                await http.get("/livez")
            with pytest.raises(ConnectionRefusedError):
                unix_connection(tmp_path)
            assert router.status().sinks.keys() == {"out"}
    assert [line["event"] for line in logged if line["log_level"] == "error"] == [
        "the control interface cannot be served; messages are routed without it"
    ]
