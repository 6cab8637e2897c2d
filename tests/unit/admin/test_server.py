"""On a loopback address the router answers this machine, and no page that took its name."""

import aiohttp
import pytest
from aiohttp import web

from edgerouter.admin.server import serve
from support.mosquitto import free_port


async def hello(_):
    return web.Response(text="hello")


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
async def test_a_name_of_somebody_else_is_refused(host, status):
    port = free_port()
    async with (
        serve([web.get("/", hello)], [], None, f"127.0.0.1:{port}"),
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/", headers={"Host": host}) as answer,
    ):
        assert answer.status == status
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_on_an_address_for_everybody_every_name_is_answered():
    port = free_port()
    async with (
        serve([web.get("/", hello)], [], None, f"0.0.0.0:{port}"),
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/", headers={"Host": "edge.plant.example"}) as answer,
    ):
        assert answer.status == 200


async def test_the_unix_socket_is_for_its_owner_alone(tmp_path):
    async with serve([web.get("/", hello)], [], tmp_path, None):
        assert (tmp_path / "control.sock").stat().st_mode & 0o777 == 0o600
