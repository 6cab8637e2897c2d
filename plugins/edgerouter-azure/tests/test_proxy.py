"""Everything goes through an HTTP proxy that wants a password, where one is configured.

Covers: edgerouter_azure.credentials, edgerouter_azure.transport.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edgerouter import SecretStoreContext, Unavailable
from edgerouter.testing import make_context, make_messages
from edgerouter.testing.fault_promises import whole_text
from edgerouter_azure.blob.config import BlobConfig
from edgerouter_azure.blob.sink import BlobSink
from edgerouter_azure.event_hubs.config import EventHubsConfig
from edgerouter_azure.event_hubs.sink import EventHubsSink
from edgerouter_azure.keyvault import KeyVaultConfig, KeyVaultStore
from support.amqp.conformance import EventHubsServer
from support.azure.entra import CLIENT, CLIENT_SECRET, TENANT, Entra
from support.azure.key_vault import KeyVault
from support.certificates import Authority
from support.proxy import Proxy

CREDENTIAL = {"type": "client-secret", "tenant_id": TENANT, "client_id": CLIENT, "client_secret": CLIENT_SECRET}


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with Proxy().running() as running:
        yield running


async def test_events_go_through_the_proxy(proxy: Proxy, server_tls: ssl.SSLContext, authority: Authority) -> None:
    async with EventHubsServer(tls=server_tls).running() as server:
        fields: dict[str, Any] = {
            "connection_string": server.connection_string(websocket=True), "endpoint": f"localhost:{server.websocket_port}",
            "ca_file": str(authority.certificate), "proxy": proxy.url(),
        }  # fmt: skip
        async with EventHubsSink.open(EventHubsConfig.model_validate(fields), make_context()) as sink:
            await sink.write(make_messages([b"hello"]))
        assert [event.body for event in server.hub.events] == [b"hello"]
        assert proxy.tunnels == [server.websocket_port]
        wrong = EventHubsConfig.model_validate(fields | {"proxy": proxy.url("wrong-password")})
        with pytest.raises(Unavailable) as caught:
            async with EventHubsSink.open(wrong, make_context()):
                pass
        assert "wrong-password" not in whole_text(caught.value)


@pytest.mark.parametrize("port", [0, 1], ids=["refused by the proxy", "no proxy there"])
async def test_no_error_shows_the_password_of_the_proxy(proxy: Proxy, port: int) -> None:
    url = proxy.url("wrong-password") if port == 0 else "http://router:wrong-password@127.0.0.1:1"
    blob = {"account": "plant", "account_key": "a2V5", "container": "raw", "proxy": url, "endpoint": "https://localhost:9/plant"}
    with pytest.raises(Unavailable) as from_blob:
        async with BlobSink.open(BlobConfig.model_validate(blob), make_context()):
            pass
    vault = {"vault": "https://localhost:9", "proxy": url, "credential": CREDENTIAL}
    with pytest.raises(Unavailable) as from_vault:
        async with KeyVaultStore.open(KeyVaultConfig.model_validate(vault), SecretStoreContext("store")) as store:
            await store.get("name")
    hub = {"connection_string": "Endpoint=sb://localhost;SharedAccessKeyName=a;SharedAccessKey=b", "hub": "h", "proxy": url}
    with pytest.raises(Unavailable) as from_hub:
        async with EventHubsSink.open(EventHubsConfig.model_validate(hub), make_context()):
            pass
    for caught in (from_blob, from_vault, from_hub):
        assert "wrong-password" not in whole_text(caught.value)


async def test_secrets_and_logins_go_through_the_proxy(
    proxy: Proxy, entra: Entra, server_tls: ssl.SSLContext, authority: Authority
) -> None:
    async with KeyVault(entra, {"name": ["value"]}).running(server_tls) as vault:
        fields: dict[str, Any] = {
            "vault": vault.url, "authority": entra.url, "ca_file": str(authority.certificate), "proxy": proxy.url(),
            "credential": CREDENTIAL, "verify_challenge_resource": False,
        }  # fmt: skip
        async with KeyVaultStore.open(KeyVaultConfig.model_validate(fields), SecretStoreContext("store")) as store:
            assert await store.get("name") == "value"
        assert {vault.url, entra.url} == {f"https://localhost:{port}" for port in proxy.tunnels}
