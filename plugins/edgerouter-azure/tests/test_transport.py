"""The HTTP connections of the clients on azure-core: authorities, and answers that another party makes as large as it likes."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from edgerouter import Unauthorized, Unavailable
from edgerouter.testing import make_context, make_messages
from edgerouter_azure.blob.config import BlobConfig
from edgerouter_azure.blob.sink import BlobSink
from support.azure.azurite import ACCOUNT, API_VERSION, KEY, Azurite, BlobRelay
from support.certificates import Authority
from support.raw_http import for_ever, raw_http

PATIENCE = 60
"""Seconds after which a test fails that should take a fraction of one."""


@cache
def bomb() -> bytes:
    """Half a gigabyte in a few kilobytes."""
    return gzip.compress(gzip.compress(bytes(512 * 1024**2), 1)) * 3


def configured(url: str, container: str = "archive", **more: Any) -> BlobConfig:
    fields = {"account": ACCOUNT, "account_key": KEY, "endpoint": f"{url}/{ACCOUNT}", "container": container}
    return BlobConfig.model_validate({**fields, "api_version": API_VERSION, **more})


@asynccontextmanager
async def opened(config: BlobConfig) -> AsyncIterator[BlobSink]:
    async with asyncio.timeout(PATIENCE), BlobSink.open(config, make_context()) as sink:
        yield sink


async def open_error(config: BlobConfig) -> str:
    with pytest.raises(Unavailable) as caught:
        async with opened(config):
            pass
    return str(caught.value)


async def test_interim_answers_without_end_end_the_request() -> None:
    async with raw_http(partial(for_ever, unit=b"HTTP/1.1 100 Continue\r\n\r\n")) as server:
        assert "interim answers" in await open_error(configured(server.url))


async def test_an_answer_without_end_ends_the_request() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\nContent-Type: application/xml\r\n\r\n")
        await for_ever(writer, b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    async with raw_http(answer) as server:
        tracemalloc.start()
        assert await open_error(configured(server.url))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100 * 1024**2


class Bombs(BlobRelay):
    """Answers all that carries messages with what would fill the memory."""

    asked: str = ""

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if not self.carries_messages(request):
            return await super().answer(request, body)
        self.asked = request.headers.get("Accept-Encoding", "")
        return web.Response(status=500, body=bomb(), headers={"Content-Encoding": "gzip", "Content-Type": "application/xml"})


@pytest.mark.parametrize("blob_type", ["block", "append"])
async def test_a_compressed_answer_is_not_asked_for_and_not_inflated(azurite: Azurite, blob_type: str) -> None:
    async with (
        Bombs(azurite, azurite.new_container()).running() as relay,
        opened(configured(relay.url, relay.container, blob_type=blob_type)) as sink,
    ):
        bomb()  # made once, before what is measured
        tracemalloc.start()
        with pytest.raises(Unavailable, match="compresses its answer"):
            await sink.write(make_messages([b"1"]))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert relay.asked == "identity"
    assert peak < 100 * 1024**2


@pytest.mark.parametrize("blob_type", ["block", "append"])
async def test_a_blob_that_is_compressed_is_read_back_as_it_was_written(azurite: Azurite, blob_type: str) -> None:
    """Its Content-Encoding is the blob's own, and the bytes are compared as they stand there."""
    batch = make_messages([b"1", b"2"])
    async with (
        BlobRelay(azurite, azurite.new_container()).running() as relay,
        opened(configured(relay.url, relay.container, blob_type=blob_type)) as sink,
    ):
        await relay.lose_next_response()
        with pytest.raises(Unavailable):
            await sink.write(batch)
        assert not (await sink.write(batch)).failed
        (stored,) = azurite.blobs(relay.container).values()
    assert len(gzip.decompress(stored).splitlines()) == 2


async def test_only_the_authorities_of_the_user_are_trusted(
    azurite: Azurite, authority: Authority, server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    relay = BlobRelay(azurite, azurite.new_container())

    async def service(request: web.BaseRequest) -> web.StreamResponse:
        return await relay.answer(request, await request.read())

    runner = web.ServerRunner(web.Server(service), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls).start()
        url = f"https://localhost:{runner.addresses[0][1]}"
        async with opened(configured(url, relay.container, ca_file=authority.certificate)) as sink:
            assert not (await sink.write(make_messages([b"1"]))).failed
        assert "is not trusted" in await open_error(configured(url, relay.container))
        nothing = tmp_path / "nothing.pem"
        with pytest.raises(Unauthorized, match=r"ca_file .*nothing\.pem cannot be used: No such file"):
            async with opened(configured(url, relay.container, ca_file=nothing)):
                pass
        nothing.write_text("not a certificate")
        assert "cannot be used" in await open_error(configured(url, relay.container, ca_file=nothing))
    finally:
        await runner.cleanup()


async def test_tls_to_a_plain_port_is_explained(azurite: Azurite) -> None:
    url = azurite.url.removesuffix(f"/{ACCOUNT}").replace("http:", "https:")
    assert "does not speak TLS on this port; is it http:// and not https://" in await open_error(configured(url))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"container": "Plant Archive"}, "is not the name of a container: 3 to 63 small letters"),
        ({"account": "plant-store"}, "is not the name of a storage account: 3 to 24 small letters"),
    ],
)
def test_invalid_names_are_refused_without_quoting_a_regular_expression(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BlobConfig.model_validate({"account": "plant", "container": "archive", **fields})
