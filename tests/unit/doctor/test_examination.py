"""The examination of the way to the services: names, certificates and clocks, each bounded and each by itself.

Covers also: edgerouter.doctor.certificates, edgerouter.doctor.names, edgerouter.doctor.in_thread, edgerouter.doctor.machine.clock.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from edgerouter import plugins
from edgerouter.config.model import RouterConfig
from edgerouter.doctor.examination import Wish, examine
from edgerouter.doctor.finding import Finding
from edgerouter.doctor.in_thread import in_thread
from support.certificates import Authority, Certificate
from support.http_service import http_service


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs the certificate of localhost for two days."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def localhost(authority: Authority) -> Certificate:
    return authority.issue("localhost")


@asynccontextmanager
async def tls_server(certificate: Certificate) -> AsyncIterator[int]:
    """Serve handshakes, and nothing else, on the port yielded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "localhost", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def configured(folder: Path, url: str, **tls: str) -> RouterConfig:
    """Load a configuration with one web service."""
    sink: dict[str, Any] = {"type": "http", "url": url} | ({"tls": tls} if tls else {})
    file = folder / "edgerouter.yaml"
    source = {"type": "mqtt", "url": "mqtt://127.0.0.1", "topics": ["#"]}
    file.write_text(yaml.safe_dump({"sources": {"local": source}, "sinks": {"web": sink}, "spool": {"path": str(folder)}}))
    return plugins.load(file, {})


async def found(config: RouterConfig, *only: str) -> dict[str, Finding]:
    return {each.name: each for each in await examine(Wish(config=config, only=only))}


async def test_a_certificate_that_expires_soon_is_a_warning(tmp_path: Path, authority: Authority, localhost: Certificate) -> None:
    async with tls_server(localhost) as port:
        findings = await found(configured(tmp_path, f"https://localhost:{port}/", ca=str(authority.certificate)), "tls")

    presented = findings[f"localhost:{port}"]
    assert presented.verdict == "warn"
    assert "name and chain are good" in presented.evidence
    assert findings["sinks.web.tls.ca"].verdict == "warn", "the file expires on the same day"


async def test_an_unknown_authority_and_a_wrong_name_are_failures_with_their_cures(
    tmp_path: Path, authority: Authority, localhost: Certificate
) -> None:
    async with tls_server(localhost) as port:
        unknown = await found(configured(tmp_path, f"https://localhost:{port}/"), "tls")
        tls = {"ca": str(authority.certificate), "server_name": "elsewhere"}
        wrong = await found(configured(tmp_path, f"https://localhost:{port}/", **tls), "tls")

    assert unknown[f"localhost:{port}"].verdict == wrong[f"localhost:{port}"].verdict == "fail"
    assert "tls.ca" in unknown[f"localhost:{port}"].change
    assert "tls.server_name" in wrong[f"localhost:{port}"].change


async def test_a_host_without_tls_is_a_failure(tmp_path: Path) -> None:
    async def plain(_: web.Request) -> web.Response:
        return web.Response()

    async with http_service(plain) as url:
        findings = await found(configured(tmp_path, url.replace("http://127.0.0.1", "https://localhost")), "tls")

    assert [each.verdict for each in findings.values()] == ["fail"]


@pytest.mark.parametrize(("ahead", "verdict"), [(0, "ok"), (-60, "warn"), (7200, "fail")])
async def test_the_clock_is_compared_with_that_of_a_web_service(tmp_path: Path, ahead: float, verdict: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        date = formatdate(time.time() - ahead, usegmt=True)
        writer.write(f"HTTP/1.1 403 Forbidden\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        findings = await found(configured(tmp_path, url), "clock")

    [compared] = [each for name, each in findings.items() if name.startswith("against ")]
    assert compared.verdict == verdict, compared
    assert findings["date"].verdict == "ok"


async def test_names_are_resolved_and_addresses_are_not(tmp_path: Path) -> None:
    findings = await found(configured(tmp_path, "http://localhost:1/"), "dns")

    assert list(findings) == ["localhost"]
    assert findings["localhost"].verdict == "ok"


async def test_a_name_that_cannot_be_resolved_is_a_failure(tmp_path: Path) -> None:
    findings = await found(configured(tmp_path, f"http://{'a' * 70}.example/"), "dns")

    assert [each.verdict for each in findings.values()] == ["fail"]


async def test_a_probe_that_raises_is_a_finding_and_stops_no_other(tmp_path: Path) -> None:
    async def broken() -> list[Finding]:
        raise RuntimeError("a plugin's fault")

    wish = Wish(config=configured(tmp_path, "http://localhost:1/"), only=("peers", "dns"), peers=broken)
    findings = await examine(wish)

    assert [(each.subject, each.verdict) for each in findings] == [("dns", "ok"), ("peers", "unknown")]
    assert "a plugin's fault" in findings[1].evidence


async def test_a_blocking_call_that_hangs_is_left_behind() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await in_thread(lambda: time.sleep(1), 0.05)
    assert time.monotonic() - began < 0.9
