"""Shared access signatures and bearer tokens, checked as Event Hubs checks them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus


class TokenRefused(Exception):
    """The token is invalid; carries the status and the text of the put-token answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Policy:
    """A shared access policy."""

    key: str
    claims: frozenset[str] = frozenset({"Send", "Listen"})


@dataclass(frozen=True, slots=True)
class Grant:
    """Permissions of a valid token, and its expiry."""

    audience: str
    claims: frozenset[str]
    expires: float


def check_sas(token: str, audience: str, policies: Mapping[str, Policy], now: float | None = None) -> Grant:
    """Verify a shared access signature for `audience` and return its grant.

    Raises:
        TokenRefused: the token is invalid; with the texts of the service.
    """
    shape = re.fullmatch(r"SharedAccessSignature sr=([^&]+)&sig=([^&]+)&se=(\d+)&skn=([^&]+)", token)
    if not shape:
        raise TokenRefused(401, "MalformedToken: The token is malformed.")
    resource, signature, expires, name = shape[1], unquote_plus(shape[2]), int(shape[3]), unquote_plus(shape[4])
    policy = policies.get(name)
    digest = hmac.digest(policy.key.encode() if policy else b"", f"{resource}\n{expires}".encode(), hashlib.sha256)
    if policy is None or not hmac.compare_digest(base64.b64encode(digest), signature.encode()):
        raise TokenRefused(401, "InvalidSignature: The token has an invalid signature.")
    if not audience.lower().startswith(unquote_plus(resource).lower()):
        raise TokenRefused(401, "InvalidAudience: The authorization header contains a token for another audience.")
    if expires <= (time.time() if now is None else now):
        raise TokenRefused(401, f"ExpiredToken: The token is expired. Expiration time: '{expires}'")
    return Grant(audience, policy.claims, expires)


def make_jwt(secret: str, audience: str, roles: tuple[str, ...], expires: float) -> str:
    """Create a bearer token as the test authority issues it."""
    head = _part({"alg": "HS256", "typ": "JWT"}) + "." + _part({"aud": audience, "roles": list(roles), "exp": int(expires)})
    return head + "." + _sign(secret, head)


def check_jwt(token: str, secret: str, audience: str) -> frozenset[str]:
    """Verify a bearer token of the test authority and return its roles.

    Raises:
        TokenRefused: forged, for another audience, or expired.
    """
    head, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature, _sign(secret, head)):
        raise TokenRefused(401, "InvalidIssuer: Token issuer is invalid.")
    encoded = head.partition(".")[2]
    claims = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    if claims["aud"] != audience:
        raise TokenRefused(401, "InvalidAudience: The token has an invalid audience.")
    if claims["exp"] <= time.time():
        raise TokenRefused(401, "ExpiredToken: The token is expired.")
    return frozenset(claims["roles"])


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _sign(secret: str, head: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), head.encode(), hashlib.sha256)).rstrip(b"=").decode()
