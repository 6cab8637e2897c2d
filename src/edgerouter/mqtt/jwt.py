"""JSON Web Token as the password of a connection, signed with the device's key (RFC 7519, RFC 7518)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from math import ceil
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from edgerouter.mqtt.login import Login, MakeLogin
from edgerouter.section import Section
from edgerouter.tls import ReadableFile
from edgerouter.units import Duration

_RENEW_AFTER: Final = 0.8
"""Share of a token's life after which the connection is replaced; brokers end it when it is over."""
_SECONDS_BEFORE: Final = 10
"""A token counts from a little earlier, for a clock that is ahead of the broker's."""
_RESERVED: Final = frozenset({"iat", "exp"})
_COORDINATE: Final = 32
"""Bytes of each half of a signature with P-256."""


class JwtConfig(Section):
    """A token that is made anew before each connect."""

    algorithm: Literal["RS256", "ES256", "HS256"]
    """Signature: RSA, P-256, or a shared secret."""
    key_file: ReadableFile = Field(examples=["/etc/edgerouter/jwt.key"])
    """PEM file of the private key; with HS256 the file that holds the secret. Read for each token."""
    audience: str | None = Field(default=None, examples=["plant"])
    """Claim `aud`, such as the project."""
    issuer: str | None = Field(default=None, examples=["edge-7"])
    """Claim `iss`."""
    subject: str | None = Field(default=None, examples=["edge-7"])
    """Claim `sub`."""
    claims: dict[str, str | int | bool] = Field(default_factory=dict, examples=[{"scope": "publish"}])
    """Further claims."""
    lifetime: Duration = Field(default=3600.0, ge=5, le=86_400)
    """Validity of a token. The connection is replaced after four fifths of it, between two messages."""

    @model_validator(mode="after")
    def _signs(self) -> Self:
        if taken := _RESERVED.intersection(self.claims):
            raise ValueError(f"`claims` hold {', '.join(sorted(taken))}, which each token has already")
        self.token()
        return self

    def token(self) -> str:
        """Return a token that is valid from now. Reads the key: not for the event loop.

        Raises:
            ValueError: the key cannot be used; the message names its file.
        """
        now = time.time()
        named = {"aud": self.audience, "iss": self.issuer, "sub": self.subject}
        claims = {**self.claims, **{name: value for name, value in named.items() if value is not None}}
        claims |= {"iat": int(now) - _SECONDS_BEFORE, "exp": ceil(now + self.lifetime)}
        signed = f"{_encode({'alg': self.algorithm, 'typ': 'JWT'})}.{_encode(claims)}"
        try:
            key = self.key_file.read_bytes()
        except OSError as error:
            raise ValueError(f"{self.key_file}: {error.strerror}") from None
        try:
            signature = _sign(self.algorithm, key, signed.encode())
        except (ValueError, TypeError):
            # what the library says may quote the file
            raise ValueError(f"{self.key_file} does not hold a key for {self.algorithm} in PEM without a password") from None
        return f"{signed}.{_base64(signature)}"

    def logins(self, username: str) -> MakeLogin:
        """Return what makes a login with a token as the password."""

        async def login() -> Login:
            return Login(username, await asyncio.to_thread(self.token), lasts=self.lifetime * _RENEW_AFTER)

        return login


def _sign(algorithm: str, data: bytes, signed: bytes) -> bytes:
    if algorithm == "HS256":
        secret = data.rstrip(b"\r\n")
        if not secret:
            raise ValueError
        return hmac.digest(secret, signed, hashlib.sha256)
    return _sign_with_private_key(algorithm, data, signed)


def _sign_with_private_key(algorithm: str, data: bytes, signed: bytes) -> bytes:
    # most sinks have a password, and need none of this library
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils  # noqa: PLC0415

    try:
        key = serialization.load_pem_private_key(data, None)
    except UnsupportedAlgorithm as error:
        raise ValueError from error
    if algorithm == "RS256" and isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    if algorithm == "ES256" and isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        halves = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return b"".join(half.to_bytes(_COORDINATE) for half in halves)
    raise TypeError


def _encode(content: dict[str, Any]) -> str:
    return _base64(json.dumps(content, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
