"""A token is signed with the device's key, and ends when it should."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from pydantic import ValidationError

from edgerouter.mqtt.jwt import JwtConfig

RSA = rsa.generate_private_key(65_537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def verify(algorithm: str, signed: bytes, signature: bytes) -> None:
    """Raise if the signature is wrong."""
    if algorithm == "RS256":
        RSA.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    elif algorithm == "ES256":
        assert len(signature) == 64
        halves = utils.encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        P256.public_key().verify(halves, signed, ec.ECDSA(hashes.SHA256()))
    else:
        assert signature == hmac.digest(b"secret", signed, hashlib.sha256)


@pytest.mark.parametrize(("algorithm", "key"), [("RS256", pem(RSA)), ("ES256", pem(P256)), ("HS256", b"secret\n")])
def test_a_token_holds_its_claims_and_a_valid_signature(tmp_path: Path, algorithm: str, key: bytes) -> None:
    (tmp_path / "key").write_bytes(key)
    config = JwtConfig.model_validate(
        {
            "algorithm": algorithm,
            "key_file": tmp_path / "key",
            "audience": "plant",
            "subject": "edge-7",
            "claims": {"role": "device"},
            "lifetime": "20m",
        }
    )
    head, claims, signature = config.token().split(".")
    verify(algorithm, f"{head}.{claims}".encode(), decode(signature))
    assert json.loads(decode(head)) == {"alg": algorithm, "typ": "JWT"}
    found = json.loads(decode(claims))
    assert found.pop("exp") - time.time() == pytest.approx(1200, abs=5)
    assert found.pop("iat") <= time.time()
    assert found == {"role": "device", "aud": "plant", "sub": "edge-7"}


async def test_each_login_has_a_new_token_that_is_renewed_before_it_ends(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    config = JwtConfig.model_validate({"algorithm": "HS256", "key_file": tmp_path / "key", "lifetime": 100})
    login = await config.logins("me")()
    assert (login.username, login.lasts) == ("me", 80)
    assert "secret" not in repr(login)
    (tmp_path / "key").unlink()
    with pytest.raises(ValueError, match="No such file"):
        await config.logins("me")()


@pytest.mark.parametrize(
    ("algorithm", "key", "more", "complaint"),
    [
        ("RS256", pem(P256), {}, "does not hold a key for RS256"),
        ("ES256", pem(P384), {}, "does not hold a key for ES256"),
        ("RS256", b"s3cr3t", {}, "does not hold a key for RS256"),
        ("HS256", b"\n", {}, "does not hold a key for HS256"),
        ("HS256", b"s3cr3t", {"claims": {"exp": 1}}, "`claims` hold exp"),
        ("none", b"s3cr3t", {}, "algorithm"),
        ("HS256", b"s3cr3t", {"lifetime": 1}, "lifetime"),
    ],
)
def test_what_cannot_sign_is_refused_without_showing_the_key(
    tmp_path: Path, algorithm: str, key: bytes, more: dict[str, Any], complaint: str
) -> None:
    (tmp_path / "key").write_bytes(key)
    with pytest.raises(ValidationError, match=complaint) as refused:
        JwtConfig.model_validate({"algorithm": algorithm, "key_file": tmp_path / "key", **more})
    assert "s3cr3t" not in str(refused.value)
