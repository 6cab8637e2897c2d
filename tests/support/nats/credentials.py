"""Accounts and users of a NATS server that are proven by signed tokens, and the files that hold a user's credentials."""

from __future__ import annotations

import json
import os
from base64 import b32encode, urlsafe_b64encode
from typing import Any

import nkeys  # type: ignore[import-untyped]  # it declares nothing

_ROLES = {"operator": nkeys.PREFIX_BYTE_OPERATOR, "account": nkeys.PREFIX_BYTE_ACCOUNT, "user": nkeys.PREFIX_BYTE_USER}
_UNLIMITED = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage"), -1)


class Signer:
    """A key pair of an operator, an account or a user.

    Args:
        role: one of these words.
    """

    def __init__(self, role: str) -> None:
        self.role = role
        self.seed = bytes(nkeys.encode_seed(os.urandom(32), _ROLES[role]))
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self._pair.public_key.decode()

    def sign(self, subject: Signer, **claims: Any) -> str:
        """Return a token for another one, or for itself (docs.nats.io, JWTs Privacy and Security)."""
        about = {"type": subject.role, "version": 2, **claims}
        body = {
            "jti": b32encode(os.urandom(16)).decode(),
            "iat": 1,
            "iss": self.public,
            "sub": subject.public,
            "name": "test",
            "nats": about,
        }
        plain = f"{_encoded({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_encoded(body)}"
        return f"{plain}.{_base64(self._pair.sign(plain.encode()))}"


class Account:
    """One account of one operator, for a server without others."""

    def __init__(self) -> None:
        self._operator, self._account = Signer("operator"), Signer("account")

    @property
    def settings(self) -> list[str]:
        """Lines of the server's configuration."""
        operator = self._operator.sign(self._operator)
        account = self._operator.sign(self._account, limits={**_UNLIMITED, "wildcards": True})
        return [f"operator: {operator}", "resolver: MEMORY", f"resolver_preload: {{ {self._account.public}: {account} }}"]

    def credentials(self) -> str:
        """Return the file of a new user, as `nsc` writes it."""
        user = Signer("user")
        token = self._account.sign(user, subs=-1, data=-1, payload=-1, pub={}, sub={})
        return (
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )


def _encoded(value: object) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
