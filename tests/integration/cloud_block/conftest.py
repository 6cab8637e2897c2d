"""Fixtures: the broker of a device, and a cloud behind it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.certificates import Authority
from support.google.identity import Identity, known_key
from support.mosquitto import Mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", ("log_type error",)) as broker:
        yield broker


@pytest.fixture
async def identity() -> AsyncIterator[Identity]:
    async with Identity(known_key()).running() as identity:
        yield identity


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server_tls(authority: Authority) -> ssl.SSLContext:
    """Create a context for servers that clients reach as `localhost`."""
    issued = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    return context
