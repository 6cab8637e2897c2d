"""Authentication and trust of the MQTT source, tested with a real mosquitto."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from edgerouter.sources.mqtt.config import MqttSourceConfig
from support.certificates import Authority
from support.mosquitto import Mosquitto, free_port
from support.mqtt_source import opened, publish


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def users(file: Path, **passwords: str) -> None:
    file.write_text("".join(f"{user}:{password}\n" for user, password in passwords.items()))
    file.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", str(file)], check=True)


@pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="mosquitto_passwd is not installed")
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_refused_password_is_reported_and_tried_until_it_is_allowed(tmp_path: Path, protocol: str) -> None:
    file = tmp_path / "users"
    users(file, router="other")
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    with Mosquitto(tmp_path / "broker", [f"password_file {file}"], anonymous=False) as broker:
        async with opened(broker, username="router", password_file=secret, protocol=protocol) as source:
            reason = await source.disconnected()
            assert "refuses the connection" in reason
            assert "hunter2" not in reason
            users(file, router="hunter3")
            broker.reload()
            # a rotated password is used at the next connect
            secret.write_text("hunter3")
            await source.connected()


@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
async def test_tls_trusts_the_given_authority_and_no_other(tmp_path: Path, authority: Authority, scheme: str) -> None:
    server = authority.issue("localhost")
    other = Authority(tmp_path / "other")
    tls_port = free_port()
    lines = [
        f"listener {tls_port} 127.0.0.1",
        f"cafile {authority.certificate}",
        f"certfile {server.certificate}",
        f"keyfile {server.key}",
    ]
    if scheme == "wss":
        lines.append("protocol websockets")
    with Mosquitto(tmp_path / "broker", lines) as broker:
        url = f"{scheme}://localhost:{tls_port}"
        async with opened(url, tls={"ca": other.certificate}) as source:
            assert "certificate verify failed" in await source.disconnected()
        async with opened(url.replace("localhost", "127.0.0.1"), tls={"ca": authority.certificate}) as source:
            assert "certificate verify failed" in await source.disconnected()
        for address, tls in (
            (url, {"ca": authority.certificate}),
            (url.replace("localhost", "127.0.0.1"), {"ca": authority.certificate, "server_name": "localhost"}),
            (url.replace("localhost", "127.0.0.1"), {"insecure": True}),
        ):
            async with opened(address, tls=tls) as source:
                await source.connected()
                payloads = [bytes([number]) * 3000 for number in range(100)]
                await publish(broker, "t", *payloads)
                assert [message.payload for message in await source.messages(100)] == payloads


async def test_mutual_tls_uses_the_certificate_that_is_on_disk_at_each_connect(tmp_path: Path, authority: Authority) -> None:
    server = authority.issue("localhost")
    stranger = Authority(tmp_path / "stranger").issue("device")
    device = authority.issue("device", password="key password")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(stranger.certificate, certificate)
    shutil.copy(stranger.key, key)
    tls_port = free_port()
    lines = [
        f"listener {tls_port} 127.0.0.1",
        f"cafile {authority.certificate}",
        f"certfile {server.certificate}",
        f"keyfile {server.key}",
        "require_certificate true",
        "use_identity_as_username true",
    ]
    with Mosquitto(tmp_path / "broker", lines) as broker:
        tls = {"ca": authority.certificate, "cert": certificate, "key": key, "key_password": "key password"}
        async with opened(f"mqtts://localhost:{tls_port}", tls=tls) as source:
            assert await source.disconnected()
            shutil.copy(device.certificate, certificate)
            shutil.copy(device.key, key)
            await source.connected()
            await publish(broker, "t", b"x")
            await source.messages(1)


async def test_a_websocket_carries_what_tcp_carries(tmp_path: Path) -> None:
    port = free_port()
    with Mosquitto(tmp_path / "broker", [f"listener {port} 127.0.0.1", "protocol websockets"]) as broker:
        async with opened(f"ws://127.0.0.1:{port}/mqtt", qos=2, websocket_headers={"X-Device": "1"}) as source:
            await source.connected()
            payloads = [bytes([number]) * number * 20 for number in range(200)]
            for qos in (0, 1, 2):
                await publish(broker, "t", *payloads, qos=qos)
                assert [message.payload for message in await source.messages(200)] == payloads


def test_a_key_that_needs_a_password_is_refused_without_one_instead_of_asking_the_terminal(authority: Authority) -> None:
    device = authority.issue("device", password="key password")
    with pytest.raises(ValidationError, match="no usable certificate with its private key"):
        MqttSourceConfig.model_validate(
            {"url": "mqtts://h", "topics": ["#"], "tls": {"cert": device.certificate, "key": device.key}}
        )
