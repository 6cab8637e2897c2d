"""`${gcp-secret-manager:name}`: the newest version, a version, or a full name; and why there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from edgerouter import SecretStoreContext, Throttled, Unauthorized, Unavailable
from edgerouter.testing import SecretStoreConformance
from edgerouter_gcp.secret_manager import SecretManagerConfig, SecretManagerStore
from support.google.identity import Identity
from support.google.secret_manager import ACCESS, SecretManagerServer

NAME = "projects/plant/secrets/aws-key"
REGIONAL = "projects/plant/locations/europe-west3/secrets/local"


@pytest.fixture
async def server(identity: Identity) -> AsyncIterator[SecretManagerServer]:
    async with SecretManagerServer(identity).running() as server:
        for name, versions in {NAME: [b"old", b"new\n"], REGIONAL: [b"here"]}.items():
            server.secrets[name] = list(versions)
            identity.grant(name, ACCESS)
        yield server


@pytest.fixture
async def store(server: SecretManagerServer, account: Mapping[str, Any]) -> AsyncIterator[SecretManagerStore]:
    config = SecretManagerConfig.model_validate({"endpoint": server.url, **account})
    async with SecretManagerStore.open(config, SecretStoreContext("store")) as store:
        yield store


class TestTheStore(SecretStoreConformance):
    store_class = SecretManagerStore

    @pytest.fixture
    def config(self, server: SecretManagerServer, identity: Identity, account: Mapping[str, Any]) -> Mapping[str, Any]:
        # without the role on a secret, Google does not say whether it exists
        identity.grant(f"projects/plant/secrets/{self.missing}", ACCESS)
        return {"endpoint": server.url, **account}

    @pytest.fixture
    def secret(self, server: SecretManagerServer) -> tuple[str, str]:
        server.secrets[NAME] = [b" hunter2 "]
        return "aws-key", " hunter2 "

    @pytest.fixture
    def rotate(self, server: SecretManagerServer) -> Callable[[str], None]:
        return lambda value: server.secrets[NAME].append(value.encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("aws-key", "new"),
        ("aws-key@1", "old"),
        ("aws-key@latest", "new"),
        ("aws-key@stable", "old"),
        ("aws-key/versions/1", "old"),
        ("projects/plant/secrets/aws-key", "new"),
        ("projects/plant/secrets/aws-key/versions/1", "old"),
        (REGIONAL, "here"),
    ],
)
async def test_a_secret_is_read_by_name_and_version(
    store: SecretManagerStore, server: SecretManagerServer, name: str, value: str
) -> None:
    server.aliases[NAME, "stable"] = 1
    assert await store.get(name) == value


async def test_a_new_version_is_seen_at_the_next_read(store: SecretManagerStore, server: SecretManagerServer) -> None:
    assert await store.get("aws-key") == "new"
    server.secrets[NAME].append(b"newest")
    assert await store.get("aws-key") == "newest"


async def test_regional_secrets_have_short_names_too(server: SecretManagerServer, account: Mapping[str, Any]) -> None:
    config = SecretManagerConfig.model_validate({"endpoint": server.url, "location": "europe-west3", **account})
    async with SecretManagerStore.open(config, SecretStoreContext("store")) as store:
        assert await store.get("local") == "here"


async def test_a_missing_role_is_named(store: SecretManagerStore, identity: Identity) -> None:
    identity.revoke(NAME)
    with pytest.raises(Unauthorized, match=r"grant roles/secretmanager\.secretAccessor on the secret to router@plant"):
        await store.get("aws-key")


@pytest.mark.parametrize("name", ["no-such", "aws-key@7", "a b", "", "aws-key@1@2"])
async def test_a_secret_that_is_not_there_is_named(store: SecretManagerStore, identity: Identity, name: str) -> None:
    identity.grant("projects/plant/secrets/no-such", ACCESS)
    with pytest.raises(Unauthorized, match=name or "''"):
        await store.get(name)


async def test_a_disabled_version_is_reported(store: SecretManagerStore, server: SecretManagerServer) -> None:
    server.secrets[NAME].append(None)
    with pytest.raises(Unauthorized, match="DISABLED"):
        await store.get("aws-key")


async def test_a_secret_that_is_not_text_is_refused(store: SecretManagerStore, server: SecretManagerServer) -> None:
    server.secrets[NAME].append(b"\xff")
    with pytest.raises(Unauthorized, match="not text"):
        await store.get("aws-key")


async def test_a_store_that_is_down_or_busy_is_tried_again_later(store: SecretManagerStore, server: SecretManagerServer) -> None:
    await server.fail()
    with pytest.raises(Unavailable):
        await store.get("aws-key")
    await server.throttle(3)
    with pytest.raises(Throttled) as caught:
        await store.get("aws-key")
    assert caught.value.retry_after == 3
    await server.heal()
    assert await store.get("aws-key") == "new"
    await server.stop()
    with pytest.raises(Unavailable):
        await store.get("aws-key")


async def test_every_field_is_documented() -> None:
    assert all(field.description for field in SecretManagerConfig.model_fields.values())
