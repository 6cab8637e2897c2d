"""Callers get what their address and token allow, pages of other origins nothing, and no answer quotes a token.

Covers also: edgerouter.config.admin, edgerouter.section.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import ValidationError
from structlog.testing import capture_logs

from edgerouter.admin import access
from edgerouter.admin.access import Caller, Need
from edgerouter.admin.listen import unix_listener
from edgerouter.admin.routes import Route
from edgerouter.admin.server import serve
from edgerouter.config.admin import AdminConfig
from edgerouter.errors import ConfigurationError
from edgerouter.masking import mask
from support.certificates import Authority
from support.mosquitto import free_port

OPS, READER, NEXT = "token-of-operators-0123", "token-of-readers-456789", "token-of-tomorrow-01234"
TOKENS: dict[str, Any] = {"ops": {"token": OPS}, "reader": {"token": READER, "read_only": True}}
NEEDS: tuple[Need, ...] = ("nothing", "health", "metrics", "read", "payloads", "change", "owner")


async def name_of(_: web.Request, caller: Caller) -> web.Response:
    return web.Response(text=caller.name)


ROUTES = [Route(method, f"/{need}", need, name_of) for need in NEEDS for method in ("GET", "POST")]


@asynccontextmanager
async def served(
    control: socket.socket | None = None, host: str = "127.0.0.1", **admin: Any
) -> AsyncIterator[aiohttp.ClientSession]:
    port = free_port()
    config = AdminConfig.model_validate({"listen": f"{host}:{port}", **admin})
    async with serve(ROUTES, control, config), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        yield http


async def ask(http: aiohttp.ClientSession, need: str, token: str | None = None, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        named["Authorization"] = f"Bearer {token}"
    async with http.get(f"/{need}", headers=named) as answer:
        return answer.status, await answer.text()


async def statuses(http: aiohttp.ClientSession, token: str | None = None) -> dict[str, int]:
    return {need: (await ask(http, need, token))[0] for need in NEEDS}


async def test_on_loopback_reading_needs_no_token_and_changing_does() -> None:
    async with served(tokens=TOKENS) as http:
        assert await statuses(http) == {
            "nothing": 200, "health": 200, "metrics": 200, "read": 200, "payloads": 401, "change": 401, "owner": 403,
        }  # fmt: skip
        assert await ask(http, "change", OPS) == (200, "token ops")
        assert (await ask(http, "change", "wrong-token-0123456789"))[0] == 401
        assert (await ask(http, "read", "wrong-token-0123456789"))[0] == 401


async def test_beyond_loopback_only_health_needs_no_token() -> None:
    async with served(host="0.0.0.0", tokens=TOKENS) as http:
        assert await statuses(http) == {
            "nothing": 200, "health": 200, "metrics": 401, "read": 401, "payloads": 401, "change": 401, "owner": 403,
        }  # fmt: skip
        assert (await statuses(http, READER))["read"] == 200
        assert (await statuses(http, READER))["metrics"] == 200
        assert (await statuses(http, READER))["payloads"] == 200


async def test_metrics_are_opened_to_the_network_on_request() -> None:
    async with served(host="0.0.0.0", open=["health", "metrics"]) as http:
        assert (await statuses(http))["metrics"] == 200
        status, text = await ask(http, "read")
    assert status == 403
    assert "set `admin.tokens`" in text


async def test_health_is_closed_on_request() -> None:
    async with served(host="0.0.0.0", open=[], tokens=TOKENS) as http:
        assert (await statuses(http))["health"] == 401


async def test_a_read_only_token_and_a_read_only_server_change_nothing() -> None:
    async with served(tokens=TOKENS) as http:
        status, text = await ask(http, "change", READER)
        assert status == 403
        assert "read-only" in text
    async with served(tokens=TOKENS, read_only=True) as http:
        status, text = await ask(http, "change", OPS)
        assert status == 403
        assert "admin.read_only" in text
        assert (await ask(http, "read", OPS))[0] == 200


async def test_the_owner_of_the_socket_may_do_everything(tmp_path: Path) -> None:
    async with (
        served(unix_listener(tmp_path), read_only=True),
        aiohttp.ClientSession("http://box", connector=aiohttp.UnixConnector(str(tmp_path / "control.sock"))) as http,
    ):
        assert set((await statuses(http)).values()) == {200}
        assert (await ask(http, "change"))[1].startswith("uid ")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[evil"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
    ],
)
async def test_a_page_of_another_origin_reads_and_changes_nothing(headers: dict[str, str]) -> None:
    async with served(tokens=TOKENS) as http:
        for need in ("health", "read", "payloads", "change"):
            assert (await ask(http, need, OPS, **headers))[0] == 403
        async with http.options("/change", headers={"Access-Control-Request-Method": "POST", **headers}) as answer:
            assert answer.status == 405
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_the_own_page_and_a_link_to_it_are_served() -> None:
    async with served(tokens=TOKENS) as http:
        async with http.get("/health") as answer:
            own = {"Origin": str(answer.url.origin()), "Sec_Fetch_Site": "same-origin"}
        assert (await ask(http, "change", OPS, **own))[0] == 200
        assert (await ask(http, "nothing", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate"))[0] == 200
        assert (await ask(http, "nothing", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors"))[0] == 403


async def test_tokens_in_a_file_rotate_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "LOOK_SECONDS", 0.0)
    file = tmp_path / "tokens"
    file.write_text(f"{OPS}\n")
    async with served(tokens={"ops": {"token_file": str(file)}}) as http:
        assert (await ask(http, "change", OPS))[0] == 200
        file.write_text(f"{OPS}\n\n {NEXT}\n")
        assert (await ask(http, "change", NEXT))[0] == 200
        assert (await ask(http, "change", OPS))[0] == 200
        assert NEXT not in mask(f"the token {NEXT}")
        file.write_text(f"{NEXT}\n")
        assert (await ask(http, "change", OPS))[0] == 401
        file.write_text("short\n")
        with capture_logs() as logged:
            assert (await ask(http, "change", NEXT))[0] == 200, "the tokens before stay valid"
        assert "at least 16 characters" in logged[0]["reason"]
        assert "short" not in str(logged)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), ("", "holds no token"), ("short", "16 characters"), ("é" * 20, "ASCII")]
)
async def test_a_file_of_tokens_that_cannot_be_used_stops_the_start(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=rf"admin\.tokens\.ops\.token_file: .*{reason}"):
        async with served(tokens={"ops": {"token_file": str(file)}}):
            pass


async def test_callers_with_wrong_tokens_are_logged_once_a_minute_without_the_token() -> None:
    async with served(tokens=TOKENS) as http:
        with capture_logs() as logged:
            for _ in range(5):
                await ask(http, "change", "wrong-token-0123456789")
    assert [line["event"] for line in logged] == ["callers without a valid token were refused"]
    assert "wrong-token" not in str(logged)


async def test_the_server_speaks_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("localhost")
    trusted = ssl.create_default_context(cafile=authority.certificate)
    port = free_port()
    tls = {"cert": str(issued.certificate), "key": str(issued.key)}
    config = AdminConfig.model_validate({"listen": f"127.0.0.1:{port}", "tls": tls, "tokens": TOKENS})
    async with serve(ROUTES, None, config), aiohttp.ClientSession(f"https://localhost:{port}") as http:
        async with http.get("/change", ssl=trusted, headers={"Authorization": f"Bearer {OPS}"}) as answer:
            assert answer.status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP")
        writer.close()


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"tokens": {"ops": {}}}, "either `token` or `token_file`"),
        ({"tokens": {"ops": {"token": "x" * 20, "token_file": "/f"}}}, "either `token` or `token_file`"),
        ({"tokens": {"ops": {"token": "short-secret"}}}, "at least 16 characters"),
        ({"tokens": {"a": {"token": "x" * 20}, "b": {"token": "x" * 20}}}, "hold a token twice"),
        ({"tokens": {"a b": {"token": "x" * 20}}}, "should match pattern"),
        ({"open": ["everything"]}, "'health' or 'metrics'"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused_without_quoting_tokens(section: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        AdminConfig.model_validate(section)
    assert problem in str(raised.value)
    assert "short-secret" not in str(raised.value)
    assert "xxx" not in str(raised.value)
