"""A server presents its certificate, and asks clients for theirs where it should.

Covers also: edgerouter.http_server.listen, edgerouter.http_server.doorkeeper.
"""

import asyncio
import re
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from edgerouter.errors import ConfigurationError
from edgerouter.http_server import handshakes
from edgerouter.http_server.doorkeeper import Doorkeeper
from edgerouter.http_server.listen import check_listen, host_of, tcp_listener
from edgerouter.http_server.tls import ServerTlsConfig
from support.certificates import Authority
from support.http_source import serving

PEM = re.compile(r"\s")
"""Line breaks differ."""


def client_context(authority: Authority, identity: Any = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


async def test_mutual_tls_serves_clients_with_a_certificate_of_the_authority_and_no_others(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    server, device, other = authority.issue("localhost"), authority.issue("device"), stranger.issue("device")
    tls = {"cert": str(server.certificate), "key": str(server.key), "client_ca": str(authority.certificate)}
    async with serving(tls=tls) as web, aiohttp.ClientSession() as http:
        url = f"https://localhost:{web.port}/topics/a"
        async with http.post(url, data=b"1", ssl=client_context(authority, device)) as answer:
            assert answer.status == 202
        for identity in (None, other):
            with pytest.raises(aiohttp.ClientError):
                await http.post(url, data=b"2", ssl=client_context(authority, identity))
        async with web.client() as plain:
            plain.send("/topics/a")
            assert await plain.closed()
    assert [payload for _, payload in web.stored] == [b"1"]


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    identity = Authority(tmp_path / "ca").issue("localhost", password="opened")
    with pytest.raises(ValidationError, match="key_password"):
        ServerTlsConfig.model_validate({"cert": identity.certificate, "key": identity.key})
    with pytest.raises(ValidationError, match="no such file"):
        ServerTlsConfig.model_validate({"cert": tmp_path / "none.pem"})
    with pytest.raises(ValidationError, match="holds no usable certificates"):
        ServerTlsConfig.model_validate(
            {"cert": identity.certificate, "key": identity.key, "key_password": "opened", "client_ca": identity.key}
        )


async def test_a_replaced_certificate_is_presented_to_new_connections_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "LOOK_SECONDS", 0.0)
    old, new = (Authority(tmp_path / name).issue("localhost") for name in ("old", "new"))
    cert, key = tmp_path / "server.pem", tmp_path / "server.key"

    def replace(certificate: bytes, private: bytes) -> None:
        cert.write_bytes(certificate)
        key.write_bytes(private)

    replace(old.certificate.read_bytes(), old.key.read_bytes())
    async with serving(tls={"cert": str(cert), "key": str(key)}) as web:
        address = ("127.0.0.1", web.port)
        seen = [await asyncio.to_thread(ssl.get_server_certificate, address)]
        replace(new.certificate.read_bytes(), new.key.read_bytes())
        seen.append(await asyncio.to_thread(ssl.get_server_certificate, address))
        replace(b"broken", b"broken")
        seen.append(await asyncio.to_thread(ssl.get_server_certificate, address))
    assert [PEM.sub("", each) for each in seen] == [PEM.sub("", each.certificate.read_text()) for each in (old, new, new)]


@pytest.mark.parametrize("text", ["8080", ":8080", "::1:8080", "localhost:http", "localhost:70000"])
def test_an_address_to_listen_on_has_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        check_listen(text)


def test_an_address_that_is_not_of_this_machine_is_reported_with_its_field() -> None:
    assert host_of("[::1]:80") == "::1"
    with pytest.raises(ConfigurationError, match=r"here: cannot listen on 192\.0\.2\.1:0"):
        tcp_listener("192.0.2.1:0", "here")
    with pytest.raises(ConfigurationError, match=r"here: 'nothing\.invalid:80' is not an address"):
        tcp_listener("nothing.invalid:80", "here")


class Guest:
    def __init__(self, *, waits: bool) -> None:
        self.waits = waits
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def test_a_full_listener_admits_a_connection_in_place_of_the_one_that_has_waited_longest() -> None:
    doorkeeper = Doorkeeper(2)
    first, second, third = (Guest(waits=True) for _ in range(3))
    assert doorkeeper.admit(first)
    assert doorkeeper.admit(second)
    doorkeeper.begins_to_wait(first)
    assert doorkeeper.admit(third)
    assert (first.aborted, second.aborted) == (False, True)
    doorkeeper.leave(second)
    first.waits = third.waits = False
    assert not doorkeeper.admit(Guest(waits=True))
