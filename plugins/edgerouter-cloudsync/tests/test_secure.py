"""Secure mode is CloudSync's: port and mutual TLS to the brokers, tokens for the callers.

Covers: edgerouter_cloudsync.brokers, edgerouter_cloudsync.source.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import jwt

from support.certificates import Authority
from support.cloudsync import plant
from support.mosquitto import Mosquitto


async def test_secure_mode_publishes_and_subscribes_with_the_original_files_and_asks_for_tokens(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    server, device = authority.issue("localhost"), authority.issue("device")
    certificates = tmp_path / "certs"
    certificates.mkdir()
    for name, file in (("ca-crt.pem", authority.certificate), ("hen-crt.pem", device.certificate), ("hen-key.pem", device.key)):
        (certificates / name).write_bytes(file.read_bytes())
    phrase = tmp_path / "passPhraseJWT.txt"
    phrase.write_text("abcdefghijklmnop")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        token = jwt.encode({"aud": "Admin", "exp": int(time.time()) + 60}, "abcdefghijklmnop", "HS256")
    listener = [
        *(f"cafile {authority.certificate}", f"certfile {server.certificate}", f"keyfile {server.key}"),
        "require_certificate true",
    ]
    with Mosquitto(tmp_path / "broker", listener=listener) as broker:
        fields: dict[str, Any] = {"secure": True, "certificates": str(certificates), "port": broker.port}
        async with plant(source={"tokens": {"pass_phrase": str(phrase)}}, **fields) as running:
            wanted = {"appid": "reader", "payload": "21.5", "topic": "home", "url": "localhost"}
            assert (await running.send("POST", "publish", json=wanted))[0] == 401
            headers = {"Authorization": token}
            status, answer = await running.send("POST", "subscribe", json=wanted, headers=headers)
            assert status == 200, answer
            status, answer = await running.send("POST", "publish", json=wanted, headers=headers)
    assert (status, answer["Message"]) == (200, f"Data published successfully to Cloudtcps://localhost:{broker.port}")
