"""On a loopback address the router answers this machine, and no page that took its name; and only once it has something to say.

Covers also: edgerouter.admin.listen, edgerouter.admin.observation, edgerouter.admin.routes, edgerouter.admin.site.
"""

import asyncio
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from edgerouter.admin.access import Caller
from edgerouter.admin.listen import unix_listener
from edgerouter.admin.metrics import Metrics
from edgerouter.admin.observation import observation_routes
from edgerouter.admin.routes import Route
from edgerouter.admin.server import serve
from edgerouter.config.admin import AdminConfig
from support.mosquitto import free_port
from support.status import SINK, router_status


async def hello(_: web.Request, _caller: Caller) -> web.Response:
    return web.Response(text="hello")


HELLO = [Route("GET", "/", "health", hello)]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("192.0.2.7", 200),
        ("edge.localhost", 200),
        ("evil.example", 421),
        ("evil.example:8080", 421),
        ("127.0.0.1.evil.example:8080", 421),
        ("localhost.evil.example", 421),
        ("", 421),
    ],
)
async def test_a_name_of_another_host_is_refused(host: str, status: int) -> None:
    port = free_port()
    async with (
        serve(HELLO, None, AdminConfig(listen=f"127.0.0.1:{port}")),
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/", headers={"Host": host}) as answer,
    ):
        assert answer.status == status
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_on_an_address_for_all_hosts_every_name_is_answered() -> None:
    port = free_port()
    async with (
        serve(HELLO, None, AdminConfig(listen=f"0.0.0.0:{port}")),
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/", headers={"Host": "edge.plant.example"}) as answer,
    ):
        assert answer.status == 200


async def test_the_unix_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    with closing(unix_listener(tmp_path)) as control:
        async with serve(HELLO, control, AdminConfig()):
            assert (tmp_path / "control.sock").stat().st_mode & 0o777 == 0o600


async def test_who_asks_for_numbers_during_the_start_hears_of_all_sinks() -> None:
    """A sink that is not started yet would seem not to be configured."""
    port, running = free_port(), asyncio.Event()
    status = router_status()
    routes = observation_routes(lambda: status, lambda: Metrics(lambda: status, lambda: ()), running)
    async with (
        serve(routes, None, AdminConfig(listen=f"127.0.0.1:{port}")),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        asked = [asyncio.create_task(http.get(path)) for path in ("/api/status", "/metrics")]
        async with http.get("/livez") as answer:
            assert answer.status == 200, "whether it lives is said at once"
        assert not any(task.done() for task in asked)
        status.sinks["out"] = SINK
        running.set()
        told, metrics = [await task for task in asked]
        assert (await told.json())["sinks"].keys() == {"out"}
        assert 'sink="out"' in await metrics.text()
