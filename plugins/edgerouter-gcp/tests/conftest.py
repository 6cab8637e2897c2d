"""Google's services on this machine, and credentials for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from support.google.identity import ACCOUNT, Identity, known_key, pem
from support.google.pubsub import PUBLISH, PubsubServer
from support.google.storage import CREATE, StorageServer

TOPIC = "projects/plant/topics/telemetry"
BUCKET = "plant-archive"


@pytest.fixture(scope="session")
def key() -> rsa.RSAPrivateKey:
    return known_key()


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "PUBSUB_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))


@pytest.fixture
async def identity(key: rsa.RSAPrivateKey) -> AsyncIterator[Identity]:
    async with Identity(key).running() as identity:
        identity.grant(TOPIC, PUBLISH)
        identity.grant(BUCKET, CREATE)
        yield identity


@pytest.fixture
async def pubsub(identity: Identity) -> AsyncIterator[PubsubServer]:
    async with PubsubServer(identity).running() as server:
        server.create(TOPIC)
        yield server


@pytest.fixture
async def storage(identity: Identity) -> AsyncIterator[StorageServer]:
    async with StorageServer(identity).running() as server:
        server.create(BUCKET)
        yield server


@pytest.fixture
def account(identity: Identity) -> Mapping[str, Any]:
    """The fields of an inline service account, as they come out of an environment variable."""
    return {
        "project": "plant",
        "client_email": ACCOUNT,
        "private_key": pem(identity.key).replace("\n", "\\n"),
        "token_uri": f"{identity.url}/token",
    }
