"""Configuration from a secret store's variables only: normal, down at boot, and with a wrong secret that is corrected later."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from edgerouter.testing import HttpSinkServer
from support.azure.entra import CLIENT, CLIENT_SECRET, TENANT, Entra
from support.azure.key_vault import KeyVault
from support.certificates import Authority
from support.cloud_block import AWS_KEY, AWS_SECRET, environment_router, google_account, influxdb_variables, publish, sqs
from support.google.identity import PROJECT, Identity
from support.google.secret_manager import ACCESS, SecretManagerServer
from support.google.service import GoogleError
from support.influxdb import TOKEN, InfluxDbServer
from support.mosquitto import Mosquitto

Put = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Store:
    """A secret store under test."""

    variables: Mapping[str, str]
    put: Put
    """Writes a secret's newest version."""
    down: Callable[[bool], None]
    """Switches answers of 503 on or off."""
    secret: str


class SecretsManager(HttpSinkServer):
    """AWS Secrets Manager over its JSON protocol."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[str, str] = {}
        self.away = False

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        assert request.headers["X-Amz-Target"] == "secretsmanager.GetSecretValue"
        if self.away:
            return web.json_response({"__type": "InternalServiceError", "Message": "away"}, status=503)
        name = json.loads(body)["SecretId"]
        if name not in self.secrets:
            return web.json_response({"__type": "ResourceNotFoundException", "Message": "no such secret"}, status=400)
        return web.json_response({"Name": name, "SecretString": self.secrets[name]})


@asynccontextmanager
async def aws() -> AsyncIterator[Store]:
    async with SecretsManager().running() as server:
        variables = {
            "AWS_SECRETSMGR_REGION": "eu-west-1",
            "AWS_SECRETSMGR_ACCESS_KEY": AWS_KEY,
            "AWS_SECRETSMGR_SECRET_KEY": AWS_SECRET,
            "EDGEROUTER__SECRET_STORES__AWS_SECRETS_MANAGER__ENDPOINT_URL": server.url,
        }
        yield Store(variables, server.secrets.__setitem__, lambda away: setattr(server, "away", away), AWS_SECRET)


@asynccontextmanager
async def gcp(identity: Identity) -> AsyncIterator[Store]:
    async with SecretManagerServer(identity).running() as server:

        def put(name: str, value: str) -> None:
            resource = f"projects/{PROJECT}/secrets/{name}"
            server.secrets.setdefault(resource, []).append(value.encode())

        grants = identity.permissions_of
        identity.permissions_of = lambda account, resource: grants(account, resource) | {ACCESS}  # type: ignore[method-assign]

        def down(away: bool) -> None:
            identity.outage = web.Response(status=503) if away else None
            server.refuse_all = GoogleError(503, "down") if away else None

        variables = {
            **google_account("GCP_SECRETMGR", identity),
            "GCP_SECRETMGR_TOKEN_URI": f"{identity.url}/token",
            "EDGEROUTER__SECRET_STORES__GCP_SECRET_MANAGER__ENDPOINT": server.url,
        }
        yield Store(variables, put, down, "PRIVATE KEY-----\n")


@asynccontextmanager
async def azure(authority: Authority, tls: ssl.SSLContext) -> AsyncIterator[Store]:
    async with Entra().running(tls) as entra, KeyVault(entra).running(tls) as vault:

        def put(name: str, value: str) -> None:
            vault.secrets.setdefault(name, []).append(value)

        def down(away: bool) -> None:
            vault.fault = (503, "Away", {}) if away else None

        prefix = "EDGEROUTER__SECRET_STORES__AZURE_KEYVAULT__"
        variables = {
            "AZURE_VAULT_NAME": vault.url,
            "AZURE_VAULT_TENANT_ID": TENANT,
            "AZURE_VAULT_CLIENT_ID": CLIENT,
            "AZURE_VAULT_CLIENT_SECRET": CLIENT_SECRET,
            f"{prefix}AUTHORITY": entra.url,
            f"{prefix}CA_FILE": str(authority.certificate),
            f"{prefix}VERIFY_CHALLENGE_RESOURCE": "false",
        }
        yield Store(variables, put, down, CLIENT_SECRET)


@pytest.fixture
async def store(
    request: pytest.FixtureRequest, identity: Identity, authority: Authority, server_tls: ssl.SSLContext
) -> AsyncIterator[Store]:
    async with AsyncExitStack() as stack:
        made: dict[str, Callable[[], Any]] = {
            "aws": aws,
            "gcp": lambda: gcp(identity),
            "azure": lambda: azure(authority, server_tls),
        }
        yield await stack.enter_async_context(made[request.param]())


@pytest.fixture
async def influxdb() -> AsyncIterator[InfluxDbServer]:
    async with InfluxDbServer().running() as server:
        yield server


def put_all(store: Store, server: InfluxDbServer, **changes: str) -> None:
    for name, value in {**influxdb_variables(server), **changes}.items():
        store.put(name.lower().replace("_", "-"), value)


BODY = json.dumps({"measurement": "cpu_temp", "values": "temp=61.2"}).encode()
EVERY = pytest.mark.parametrize("store", ["aws", "gcp", "azure"], indirect=True)


@EVERY
async def test_the_stores_own_variables_are_enough(
    store: Store, influxdb: InfluxDbServer, broker: Mosquitto, tmp_path: Path
) -> None:
    put_all(store, influxdb)
    async with environment_router(tmp_path / "router", store.variables, {"MQTT_HOST": broker.url, "DAPR_DEBUG": "1"}) as router:
        await router.start()
        await publish(broker.port, [BODY] * 3)
        status = await router.until(lambda status: status["sinks"]["influxdb"]["delivered"] == 3)
        assert list(status["sinks"]) == ["influxdb"]
        printed = router.tail(10**9) + json.dumps(status)
        for command in (["check"], ["config", "--effective"]):
            printed += (await router.answer(*command))[1]
        await router.stop()
    assert "influxdb" in printed
    assert "secret influxdb-token of" in printed
    assert TOKEN not in printed
    assert store.secret not in printed


@EVERY
async def test_a_store_that_is_down_at_boot_is_asked_again_and_the_other_sinks_go_on(
    store: Store, influxdb: InfluxDbServer, broker: Mosquitto, tmp_path: Path
) -> None:
    """Messages for a sink whose settings are in the store wait for it."""
    put_all(store, influxdb)
    store.down(True)
    async with sqs() as service:
        variables = (store.variables, service.variables, service.tuning, {"MQTT_HOST": broker.url})
        async with environment_router(tmp_path / "router", *variables) as router:
            await router.start()
            await publish(broker.port, [BODY] * 3)
            await router.until(lambda status: status["sinks"]["aws-sqs"]["delivered"] == 3)
            await router.until(lambda status: status["sinks"]["influxdb"]["pending"] == 3)
            assert influxdb.points == {}
            store.down(False)
            await router.until(lambda status: status["sinks"].get("influxdb", {}).get("delivered") == 3)
            await router.until(lambda status: sorted(status["sinks"]) == ["aws-sqs", "influxdb"])
            assert (await router.status())["spool"]["orphans"] == []
            await router.stop()
    assert len(influxdb.points) == 3


@EVERY
async def test_a_wrong_secret_that_is_put_right_is_picked_up_without_a_restart_and_nothing_is_lost(
    store: Store, influxdb: InfluxDbServer, broker: Mosquitto, tmp_path: Path
) -> None:
    put_all(store, influxdb, INFLUXDB_TOKEN="an-old-token")
    variables = (store.variables, {"MQTT_HOST": broker.url, "EDGEROUTER__SINKS__INFLUXDB__RETRY__MAX_DELAY": "500ms"})
    async with environment_router(tmp_path / "router", *variables) as router:
        await router.start()
        await publish(broker.port, [BODY] * 3)
        await router.until(lambda status: "401" in status["sinks"]["influxdb"]["last_error"])
        await router.until(lambda status: status["sinks"]["influxdb"]["pending"] == 3)
        store.put("influxdb-token", TOKEN)
        status = await router.until(lambda status: status["sinks"]["influxdb"]["delivered"] == 3)
        assert status["sinks"]["influxdb"]["dead_lettered"] == 0
        await router.stop()
    assert len(influxdb.points) == 3
    assert "an-old-token" not in router.tail(10**9)


async def test_a_stop_does_not_wait_for_a_store_that_is_silent(broker: Mosquitto, tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        variables = {
            "AWS_SECRETSMGR_REGION": "eu-west-1",
            "AWS_SECRETSMGR_ACCESS_KEY": AWS_KEY,
            "AWS_SECRETSMGR_SECRET_KEY": AWS_SECRET,
            "EDGEROUTER__SECRET_STORES__AWS_SECRETS_MANAGER__ENDPOINT_URL": f"http://{host}:{port}",
        }
        async with environment_router(tmp_path / "router", variables, {"MQTT_HOST": broker.url}) as router:
            await router.spawn()
            await asyncio.wait_for(asked.wait(), 30)
            assert await router.stop() == 0
    assert "do not say yet" not in router.tail(10**9)
    assert "edgerouter runs" not in router.tail(10**9)
