"""`${azure-keyvault:name}`: the newest version, a version, what is cached, and why there is none.

Covers also: edgerouter_azure.credentials.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgerouter import SecretStoreContext, Throttled, Unauthorized, Unavailable
from edgerouter.testing import SecretStoreConformance
from edgerouter_azure.keyvault import KeyVaultConfig, KeyVaultStore
from support.azure.entra import CLIENT, CLIENT_SECRET, TENANT, Entra
from support.azure.key_vault import KeyVault
from support.certificates import Authority


@pytest.fixture
async def vault(entra: Entra, server_tls: ssl.SSLContext) -> AsyncIterator[KeyVault]:
    async with KeyVault(entra, {"aws-key": ["old", "new"]}).running(server_tls) as vault:
        yield vault


@pytest.fixture
def config(vault: KeyVault, entra: Entra, authority: Authority) -> dict[str, Any]:
    return {
        "vault": vault.url,
        "authority": entra.url,
        "ca_file": str(authority.certificate),
        "verify_challenge_resource": False,
        "credential": {"type": "client-secret", "tenant_id": TENANT, "client_id": CLIENT, "client_secret": CLIENT_SECRET},
        "cache": 0,
    }


class TestTheStore(SecretStoreConformance):
    store_class = KeyVaultStore

    @pytest.fixture
    def config(self, config: dict[str, Any]) -> Mapping[str, Any]:
        return config

    @pytest.fixture
    def secret(self, vault: KeyVault) -> tuple[str, str]:
        vault.secrets["aws-key"] = [" hunter2 "]
        return "aws-key", " hunter2 "

    @pytest.fixture
    def rotate(self, vault: KeyVault) -> Callable[[str], None]:
        return vault.secrets["aws-key"].append


async def read(config: Mapping[str, Any], name: str = "aws-key") -> str:
    async with KeyVaultStore.open(KeyVaultConfig.model_validate(config), SecretStoreContext("store")) as store:
        return await store.get(name)


@pytest.mark.parametrize(("name", "value"), [("aws-key", "new"), ("aws-key/1", "old"), ("aws-key@1", "old")])
async def test_a_secret_is_read_by_name_and_version(config: dict[str, Any], vault: KeyVault, name: str, value: str) -> None:
    assert await read(config, name) == value
    assert vault.challenges == 1, "the token is asked for by challenge"


async def test_a_value_is_read_once_in_the_time_of_the_cache(config: dict[str, Any], vault: KeyVault) -> None:
    config["cache"] = "1h"
    assert [await read(config), await read(config)] == ["new", "new"]
    assert len(vault.reads) == 1


async def test_a_rotated_secret_is_read_anew(config: dict[str, Any], vault: KeyVault) -> None:
    assert await read(config) == "new"
    vault.secrets["aws-key"].append("rotated")
    assert await read(config) == "rotated"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_vault_that_is_away_does_not_take_a_known_secret_away(config: dict[str, Any], vault: KeyVault, status: int) -> None:
    assert await read(config) == "new"
    vault.fault = (status, "Trouble", {})
    assert await read(config) == "new"
    with pytest.raises(Unavailable):
        await read(config, "aws-key/1")


async def test_throttling_carries_its_wait(config: dict[str, Any], vault: KeyVault) -> None:
    vault.fault = (429, "Throttled", {"Retry-After": "7"})
    with pytest.raises(Throttled) as caught:
        await read(config)
    assert caught.value.retry_after == 7


async def test_a_missing_role_is_named(config: dict[str, Any], entra: Entra) -> None:
    entra.roles = ()
    with pytest.raises(Unauthorized, match="Key Vault Secrets User"):
        await read(config)


@pytest.mark.parametrize("name", ["no-such", "aws-key/9", "a b", ""])
async def test_a_secret_that_is_not_there_is_named(config: dict[str, Any], name: str) -> None:
    with pytest.raises(Unauthorized, match=name or "''"):
        await read(config, name)


async def test_a_permission_that_was_taken_away_is_not_hidden_by_the_cache(config: dict[str, Any], entra: Entra) -> None:
    assert await read(config) == "new"
    entra.roles = ()
    with pytest.raises(Unauthorized):
        await read(config)


async def test_a_wrong_client_secret_is_reported_without_showing_it(config: dict[str, Any]) -> None:
    config["credential"]["client_secret"] = "not-the-secret"
    with pytest.raises(Unauthorized, match="Invalid client secret") as caught:
        await read(config)
    assert "not-the-secret" not in str(caught.value)


async def test_an_untrusted_certificate_is_refused(config: dict[str, Any]) -> None:
    del config["ca_file"]
    with pytest.raises(Unauthorized, match=r"not trusted.*clock"):
        await read(config)


async def test_a_managed_identity_logs_in(config: dict[str, Any], entra: Entra, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", entra.managed_url)
    monkeypatch.setenv("IDENTITY_HEADER", "of the host")
    config["credential"] = "managed-identity"
    assert await read(config) == "new"
    assert entra.requests[-1]["resource"] == "https://vault.azure.net"


async def test_a_workload_identity_logs_in_with_its_token(config: dict[str, Any], entra: Entra, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(entra.federated_token)
    config["credential"] = {"type": "workload-identity", "tenant_id": TENANT, "client_id": CLIENT, "token_file": str(file)}
    assert await read(config) == "new"
    assert entra.requests[-1]["client_assertion"] == entra.federated_token


async def test_a_certificate_logs_in_and_a_missing_one_is_named(config: dict[str, Any], entra: Entra, tmp_path: Path) -> None:
    file = tmp_path / "application.pem"
    certificate = tmp_path / "certificate.pem"
    options = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=application", "-keyout", str(file), "-out", str(certificate)]
    made = await asyncio.create_subprocess_exec("openssl", "req", "-x509", *options, stderr=asyncio.subprocess.DEVNULL)
    assert await made.wait() == 0
    file.write_bytes(file.read_bytes() + certificate.read_bytes())
    config["credential"] = {"type": "certificate", "tenant_id": TENANT, "client_id": CLIENT, "certificate_file": str(file)}
    assert await read(config) == "new"
    assert entra.requests[-1]["client_assertion"].count(".") == 2
    file.unlink()
    with pytest.raises(Unauthorized, match="No such file"):
        await read(config)


def test_a_vault_is_found_by_its_name_in_each_cloud() -> None:
    assert KeyVaultConfig(vault="plant").url() == "https://plant.vault.azure.net"
    assert KeyVaultConfig(vault="plant", cloud="china").url() == "https://plant.vault.azure.cn"
