"""The step `encrypt` makes payloads that only the holder of the key reads, the same at every retry.

Covers: edgerouter.steps.encrypt, edgerouter.steps.sealing.
"""

from __future__ import annotations

import base64
import hmac
import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7
from joserfc import jwe
from joserfc.jwk import OctKey
from pydantic import ValidationError

from edgerouter import Message, plugins
from edgerouter.pipeline.shaping.chain import Chain, StepNames
from edgerouter.steps.sealing import NotOpened, open_sealed
from support.steps import chain, configured, message

KEY = bytes(range(32))
TEXT = base64.b64encode(KEY).decode()
EDGEX_KEY = bytes(range(64))
PAYLOAD = b'{"temperature": 21.5}'


def encrypted(payload: Any = PAYLOAD, sequence: int = 1, **config: Any) -> Message:
    config = {"key": EDGEX_KEY.hex() if config.get("format") == "edgex" else TEXT} | config
    (item,) = chain({"type": "encrypt", **config}).apply([message(payload, sequence)]).items
    return item.message


def key_for(form: str) -> bytes:
    return EDGEX_KEY if form == "edgex" else KEY


@pytest.mark.parametrize("form", ["jwe", "binary", "edgex"])
@pytest.mark.parametrize("payload", [PAYLOAD, b"", b"\xff" * 16, b"x" * 15, bytes(100_000)])
def test_a_payload_comes_back_whole(form: str, payload: bytes) -> None:
    found = encrypted(payload, format=form)
    assert payload == b"" or payload not in found.payload
    assert open_sealed(found.payload, key_for(form)) == payload


def test_another_library_reads_the_jwe() -> None:
    found = encrypted(key_id="plant-2")
    opened = jwe.decrypt_compact(found.payload.decode(), OctKey.import_key(KEY))
    assert opened.plaintext == PAYLOAD
    assert opened.protected == {"alg": "dir", "enc": "A256GCM", "kid": "plant-2"}
    assert found.properties is not None
    assert found.properties.content_type == "application/jose"


def test_the_binary_form_is_as_documented() -> None:
    found = encrypted(format="binary", key_id="k7").payload
    assert found[:7] == b"ERE1\x02k7"
    assert AESGCM(KEY).decrypt(found[7:19], found[19:], found[:7]) == PAYLOAD


@pytest.mark.parametrize("form", ["jwe", "binary", "edgex"])
def test_a_retry_has_the_same_bytes_and_anything_else_another_nonce(form: str) -> None:
    first = encrypted(format=form).payload
    assert encrypted(format=form).payload == first
    # another payload under the same id, and the same payload under another id
    changed, other = encrypted(b'{"temperature": 21.6}', format=form).payload, encrypted(sequence=2, format=form).payload
    nonces = {nonce_of(sealed, form) for sealed in (first, changed, other)}
    assert len(nonces) == 3


def nonce_of(sealed: bytes, form: str) -> bytes:
    if form == "jwe":
        return sealed.split(b".")[2]
    return sealed[6:18] if form == "binary" else base64.b64decode(sealed)[:16]


@pytest.mark.parametrize("form", ["jwe", "binary", "edgex"])
def test_a_changed_or_shortened_text_and_another_key_are_refused(form: str) -> None:
    sealed, key = encrypted(format=form).payload, key_for(form)
    for place in range(len(sealed)):
        if sealed[place] == ord("="):
            continue
        changed = sealed[:place] + bytes((sealed[place] ^ 1,)) + sealed[place + 1 :]
        try:
            opened = open_sealed(changed, key)
        except NotOpened:
            continue
        # the last character of a base64 text has bits that mean nothing
        assert form != "binary"
        assert opened == PAYLOAD
    for length in range(len(sealed)):
        with pytest.raises(NotOpened):
            open_sealed(sealed[:length], key)
    with pytest.raises(NotOpened, match="does not fit"):
        open_sealed(sealed, key[::-1])


def test_a_payload_of_edgex_is_read_and_the_form_is_its_own() -> None:
    """EdgeX's SDK (internal/etm/etm.go) takes the first half of the key for AES, and the second for the MAC."""
    padder = PKCS7(128).padder()
    nonce = bytes(range(16))
    cipher = Cipher(algorithms.AES(EDGEX_KEY[:32]), modes.CBC(nonce)).encryptor()
    text = nonce + cipher.update(padder.update(PAYLOAD) + padder.finalize()) + cipher.finalize()
    tag = hmac.new(EDGEX_KEY[32:], text + struct.pack(">Q", 0), "sha512").digest()[:32]
    assert open_sealed(base64.b64encode(text + tag), EDGEX_KEY) == PAYLOAD
    ours = base64.b64decode(encrypted(format="edgex").payload)
    assert len(ours) == len(text + tag)
    assert ours[-32:] == hmac.new(EDGEX_KEY[32:], ours[:-32] + struct.pack(">Q", 0), "sha512").digest()[:32]


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({}, "either `key` or `key_file`"),
        ({"key": TEXT, "key_file": "/k"}, "either `key` or `key_file`"),
        ({"key": TEXT[:-4]}, "`key` is not 32 bytes in base64; make one with: openssl rand -base64 32"),
        ({"key": TEXT, "format": "edgex"}, "`key` is not 64 bytes in hexadecimal; make one with: openssl rand -hex 64"),
        ({"key_file": "/no/such"}, "`key_file` /no/such: No such file"),
        ({"key_file": "/dev/zero"}, "`key_file /dev/zero` is not 32 bytes"),
    ],
)
def test_a_key_that_cannot_be_used_stops_the_start_and_is_not_shown(config: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError, match=error) as caught:
        plugins.find("step", "encrypt").Config(**config)
    assert TEXT[:20] not in str(caught.value)


def test_a_key_may_stand_in_a_file_and_in_url_safe_base64(tmp_path: Path) -> None:
    file, key = tmp_path / "key", bytes((0xFB, 0xFF)) * 16
    file.write_bytes(base64.urlsafe_b64encode(key) + b"\n")
    (item,) = chain({"type": "encrypt", "key_file": str(file)}).apply([message(PAYLOAD)]).items
    assert open_sealed(item.message.payload, key) == PAYLOAD


def test_the_key_is_the_one_that_the_reload_compared_however_the_file_changes_meanwhile(tmp_path: Path) -> None:
    file, key = tmp_path / "key", bytes(32)
    file.write_bytes(base64.b64encode(key))
    steps = configured({"type": "encrypt", "key_file": str(file)})
    file.unlink()
    (item,) = Chain(steps, StepNames("out", "box", "spool")).apply([message(PAYLOAD)]).items
    assert open_sealed(item.message.payload, key) == PAYLOAD


def test_what_is_too_large_is_dead_lettered_and_never_sent_in_plain_text() -> None:
    steps = chain({"type": "encrypt", "key": TEXT, "max_bytes": 10})
    found = steps.apply([message(b"x" * 11)])
    assert (found.items, len(found.rejected)) == ([], 1)
    assert steps.counted == {"1:encrypt": {"too large": 1}}


def test_the_key_is_in_no_repr_and_properties_are_kept() -> None:
    config = plugins.find("step", "encrypt").Config(key=TEXT)
    assert TEXT not in f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"
    assert TEXT not in repr(chain({"type": "encrypt", "key": TEXT}).steps[0].__dict__["config"])


def test_a_wrong_kind_of_jwe_is_named() -> None:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "RSA-OAEP", "enc": "A256GCM"}).encode()).rstrip(b"=")
    with pytest.raises(NotOpened, match="another kind"):
        open_sealed(header + b"..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA", KEY)
    with pytest.raises(NotOpened, match="not sealed"):
        open_sealed(msgspec.json.encode({"a": 1}), KEY)
