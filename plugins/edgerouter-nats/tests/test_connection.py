"""A connection lets itself be made, refused, lost and made anew, against real servers.

Covers also: edgerouter_nats.client, edgerouter_nats.errors.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from edgerouter import Unauthorized, Unavailable
from edgerouter.tls import TlsConfig
from edgerouter_nats.connection import connect, connecting
from edgerouter_nats.settings import NatsSettings
from support.certificates import Authority
from support.nats.cluster import NatsServer
from support.nats.credentials import Account

SEED = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY"
PUBLIC_KEY = "UAT6BWCSCWLUKJT6K6MBJJOEOTXZ5AJDOYKNEVRFC7VNO6OA43N4TRNO"


def settings(server: NatsServer, **fields: object) -> NatsSettings:
    return NatsSettings.model_validate({"servers": [server.url], "connect_timeout": 5, **fields})


async def test_a_lost_connection_is_made_anew_by_the_next_call(server: NatsServer) -> None:
    async with connecting(settings(server), "test") as connector:
        first = await connector.connection()
        assert await connector.connection() is first
        server.kill()
        await asyncio.wait_for(first.client.lost, 5)
        assert first.lost
        with pytest.raises(Unavailable, match="Connect"):
            await connector.connection()
        server.start()
        second = await connector.connection()
        await second.flush(5)
        assert second is not first


async def test_the_first_server_that_answers_is_taken(nats: NatsServer) -> None:
    several = NatsSettings(servers=("nats://127.0.0.1:1", nats.url, "nats://127.0.0.1:2"))
    connection = await connect(several, "test")
    await connection.flush(5)
    await connection.close()
    assert connection.lost


@pytest.mark.parametrize(
    ("accepted", "given", "wrong"),
    [
        ("user: box, password: right", {"username": "box", "password": "right"}, {"username": "box", "password": "wr0ng-secret"}),
        ("token: right", {"token": "right"}, {"token": "wr0ng-secret"}),
        ("user: box, password: right", {"username": "box", "password": "right"}, {}),
    ],
)
async def test_wrong_credentials_are_an_error_that_an_operator_can_act_on(
    tmp_path: Path, accepted: str, given: dict[str, str], wrong: dict[str, str]
) -> None:
    with NatsServer(tmp_path, [f"authorization {{ {accepted} }}"], jetstream=None) as server:
        await (await connect(settings(server, **given), "test")).close()
        with pytest.raises(Unauthorized, match="Authorization Violation") as caught:
            await connect(settings(server, **wrong), "test")
    assert "wr0ng" not in str(caught.value)


async def test_an_nkey_signs_what_the_server_asks(tmp_path: Path) -> None:
    with NatsServer(tmp_path, [f"authorization {{ users: [ {{ nkey: {PUBLIC_KEY} }} ] }}"], jetstream=None) as server:
        connection = await connect(settings(server, nkey_seed=SecretStr(SEED)), "test")
        await connection.flush(5)
        await connection.close()


@pytest.mark.parametrize("content", ["", "nothing of the kind", "-----BEGIN NATS USER JWT-----\n"])
async def test_a_file_that_holds_no_credentials_is_refused_at_once(tmp_path: Path, nats: NatsServer, content: str) -> None:
    (tmp_path / "user.creds").write_text(content)
    with pytest.raises(Unauthorized, match=r"user\.creds"):
        await connect(settings(nats, creds_file=tmp_path / "user.creds"), "test")


async def test_tls_is_used_where_the_server_has_it_and_its_certificate_is_checked(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("localhost")
    with NatsServer(
        tmp_path / "nats", [f'tls {{ cert_file: "{issued.certificate}", key_file: "{issued.key}" }}'], jetstream=None
    ) as server:
        connection = await connect(settings(server, tls=TlsConfig(ca=authority.certificate, server_name="localhost")), "test")
        await connection.flush(5)
        await connection.close()
        with pytest.raises(Unavailable, match="certificate is not accepted"):
            await connect(settings(server), "test")


async def test_credentials_never_leave_without_tls_where_tls_is_wanted(nats: NatsServer) -> None:
    with pytest.raises(Unavailable, match="offers no TLS; nothing was sent"):
        await connect(settings(nats, servers=[nats.url.replace("nats:", "tls:")], token="secret"), "test")


async def test_a_credentials_file_is_read_again_at_every_connect(tmp_path: Path) -> None:
    ours, foreign = Account(), Account()
    file = tmp_path / "box.creds"
    with NatsServer(tmp_path / "nats", ours.settings, jetstream=None) as server:
        file.write_text(ours.credentials())
        connection = await connect(settings(server, creds_file=file), "test")
        await connection.flush(5)
        await connection.close()
        file.write_text(foreign.credentials())
        with pytest.raises(Unauthorized, match="Authorization Violation") as caught:
            await connect(settings(server, creds_file=file), "test")
        assert "SU" not in str(caught.value)


async def test_tls_may_begin_before_the_server_says_anything(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("localhost")
    lines = [f'tls {{ cert_file: "{issued.certificate}", key_file: "{issued.key}", handshake_first: true }}']
    tls = TlsConfig(ca=authority.certificate, server_name="localhost")
    with NatsServer(tmp_path / "nats", lines, jetstream=None) as server:
        connection = await connect(settings(server, tls=tls, tls_handshake_first=True), "test")
        await connection.flush(5)
        await connection.close()
        with pytest.raises(Unavailable):
            await connect(settings(server, tls=tls, connect_timeout=0.5), "test")
