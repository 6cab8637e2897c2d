"""A certificate authority and a login service, shared by the tests of this distribution."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator

import pytest

from support.azure.entra import Entra
from support.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session", autouse=True)
def _few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the SDK trust one authority, which has issued nothing: it reads more than a hundred for each connection, 30 ms of CPU."""
    others = Authority(tmp_path_factory.mktemp("others"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("certifi.where", lambda: str(others.certificate))
        yield


@pytest.fixture(scope="session")
def server_tls(authority: Authority) -> ssl.SSLContext:
    """For servers that clients reach as `localhost`."""
    issued = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    return context


@pytest.fixture
async def entra(server_tls: ssl.SSLContext) -> AsyncIterator[Entra]:
    async with Entra().running(server_tls) as running:
        yield running
