"""The secret store aws-secrets-manager, on moto and on a server that counts and fails."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from aiohttp import web

from edgerouter import SecretStoreContext, Throttled, Unauthorized, Unavailable
from edgerouter.testing import HttpSinkServer, SecretStoreConformance
from edgerouter_aws.secrets_manager import SecretsManagerConfig, SecretsManagerStore


class Vault(HttpSinkServer):
    """Secrets Manager over its JSON protocol."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[str, dict[str, Any]] = {}

    def refused(self) -> web.Response:
        return web.json_response({"__type": "AccessDeniedException", "Message": "User is not authorized"}, status=400)

    def throttled(self, seconds: float) -> web.Response:
        return web.json_response({"__type": "ThrottlingException", "Message": "Rate exceeded"}, status=400)

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        assert request.headers["X-Amz-Target"] == "secretsmanager.GetSecretValue"
        secret = self.secrets.get(json.loads(body)["SecretId"])
        if secret is None:
            said = {"__type": "ResourceNotFoundException", "Message": "Secrets Manager can't find the specified secret."}
            return web.json_response(said, status=400)
        return web.json_response(secret)


@pytest.fixture
async def vault() -> AsyncIterator[Vault]:
    async with Vault().running() as vault:
        yield vault


class TestTheStore(SecretStoreConformance):
    store_class = SecretsManagerStore
    unsupported: ClassVar[Mapping[str, str]] = {"rotate": "a value is kept for five seconds, which is tested below"}

    @pytest.fixture
    def config(self, vault: Vault, keys: dict[str, Any]) -> Mapping[str, Any]:
        return {"endpoint_url": vault.url, **keys}

    @pytest.fixture
    def secret(self, vault: Vault) -> tuple[str, str]:
        vault.secrets = {"db": {"SecretString": "hunter2"}}
        return "db", "hunter2"


@asynccontextmanager
async def opened(vault: Vault, keys: dict[str, Any], **more: Any) -> AsyncIterator[SecretsManagerStore]:
    config = SecretsManagerConfig(endpoint_url=vault.url, **keys, **more)
    async with SecretsManagerStore.open(config, SecretStoreContext("store")) as store:
        yield store


async def test_a_secret_is_text_or_a_key_of_json(vault: Vault, keys: dict[str, Any]) -> None:
    vault.secrets = {
        "plain": {"SecretString": "hunter2#%"},
        "json": {"SecretString": '{"password": "p", "port": 5432, "nested": {"a": 1}}'},
        "binary": {"SecretBinary": "aHVudGVyMw=="},
    }
    async with opened(vault, keys) as store:
        assert await store.get("plain") == "hunter2#%"
        assert await store.get("json#password") == "p"
        assert await store.get("json#port") == "5432"
        assert await store.get("json#nested") == '{"a":1}'
        assert await store.get("json") == vault.secrets["json"]["SecretString"]
        assert await store.get("binary") == "hunter3"
    assert await vault.requests() == 3, "one secret was read more often than once"


async def test_a_rotated_secret_is_read_again_when_a_sink_opens_again(vault: Vault, keys: dict[str, Any]) -> None:
    for value in ("old", "new"):
        vault.secrets = {"db": {"SecretString": value}}
        async with opened(vault, keys) as store:
            assert await store.get("db") == value


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "secret nothing in eu-west-1: the secret does not exist"),
        ("plain#key", "secret plain is not JSON, so it has no key 'key'"),
        ("json#key", "secret json has no key 'key'"),
        ("bytes", "secret bytes is not text"),
    ],
)
async def test_the_error_of_a_missing_secret_shows_no_other_secret(
    vault: Vault, keys: dict[str, Any], name: str, said: str
) -> None:
    vault.secrets = {
        "plain": {"SecretString": "hunter2"},
        "json": {"SecretString": '{"a": "hunter2"}'},
        "bytes": {"SecretBinary": "/w=="},
    }
    async with opened(vault, keys) as store:
        with pytest.raises(Unauthorized) as caught:
            await store.get(name)
    assert said in str(caught.value)
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_store_that_refuses_throttles_or_is_away_says_so(vault: Vault, keys: dict[str, Any]) -> None:
    vault.secrets = {"db": {"SecretString": "x"}}
    async with opened(vault, keys) as store:
        await vault.refuse()
        with pytest.raises(
            Unauthorized, match=r"grant secretsmanager:GetSecretValue on arn:aws:secretsmanager:eu-west-1:\*:secret:db-\*"
        ):
            await store.get("db")
        await vault.heal()
        await vault.throttle(1)
        with pytest.raises(Throttled):
            await store.get("db")
        await vault.stop()
        with pytest.raises(Unavailable):
            await store.get("db")


def test_the_configuration_is_documented_and_strict() -> None:
    assert all(field.description for field in SecretsManagerConfig.model_fields.values())
    with pytest.raises(ValueError, match="regoin"):
        SecretsManagerConfig(regoin="eu-west-1")  # type: ignore[call-arg]
