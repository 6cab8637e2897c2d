"""The HTTP sink over TLS: trust and client authentication."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from edgerouter import SinkContext, Unauthorized, Unavailable
from edgerouter.sinks.http.config import HttpConfig
from edgerouter.sinks.http.sink import HttpSink
from edgerouter.testing import make_message
from support.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def service(authority: Authority, name: str, *, asks_for_a_certificate: bool = False) -> AsyncIterator[str]:
    """Run a web service that presents a certificate for this name; yield its address."""
    own = authority.issue(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    if asks_for_a_certificate:
        context.load_verify_locations(authority.certificate)
        context.verify_mode = ssl.CERT_REQUIRED

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def deliver(url: str, tls: dict[str, Any]) -> None:
    config = HttpConfig.model_validate({"url": url, "tls": tls})
    async with HttpSink.open(config, SinkContext("web", "edge-1", "5p00l")) as sink:
        assert not (await sink.write([make_message()])).failed


async def test_a_service_is_trusted_by_its_authority_and_its_name(authority: Authority) -> None:
    async with service(authority, "localhost") as url:
        await deliver(url, {"ca": authority.certificate})
        with pytest.raises(Unauthorized, match="certificate verify failed"):
            await deliver(url, {})
    async with service(authority, "plant.example") as url:
        with pytest.raises(Unauthorized, match="Hostname mismatch"):
            await deliver(url, {"ca": authority.certificate})
        await deliver(url, {"ca": authority.certificate, "server_name": "plant.example"})
        await deliver(url, {"insecure": True})


async def test_a_service_that_asks_for_a_certificate_gets_ours(authority: Authority) -> None:
    own = authority.issue("gateway")
    async with service(authority, "localhost", asks_for_a_certificate=True) as url:
        await deliver(url, {"ca": authority.certificate, "cert": own.certificate, "key": own.key})
        with pytest.raises(Unavailable):
            await deliver(url, {"ca": authority.certificate})


async def test_opening_shows_whether_the_service_is_reachable_without_sending_anything(authority: Authority) -> None:
    """`edgerouter check --connect` relies on it, and a sink that cannot deliver shows it before its first message."""
    context = SinkContext("web", "edge-1", "5p00l")
    async with service(authority, "localhost") as url:
        pass
    with pytest.raises(Unavailable, match="cannot be reached"):
        async with HttpSink.open(HttpConfig.model_validate({"url": url}), context):
            pass
    async with service(authority, "plant.example") as url:
        with pytest.raises(Unauthorized, match="Hostname mismatch"):
            async with HttpSink.open(HttpConfig.model_validate({"url": url, "tls": {"ca": authority.certificate}}), context):
                pass
