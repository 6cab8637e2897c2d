"""Bearer tokens: their form, and the search for the owner of one in a time that depends on nothing secret."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from aiohttp import web  # the configuration checks tokens without a server

LEAST_TOKEN_CHARACTERS: Final = 16

OwnerT = TypeVar("OwnerT")


def check_token(token: str) -> str:
    """Return the token unchanged.

    Raises:
        ValueError: too short, or not of printable ASCII without blanks.
    """
    if len(token) < LEAST_TOKEN_CHARACTERS:
        raise ValueError(f"`token` should have at least {LEAST_TOKEN_CHARACTERS} characters; `openssl rand -hex 24` makes one")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("`token` should consist of letters, digits and signs of ASCII, without blanks")
    return token


def bearer_token(request: web.BaseRequest) -> str | None:
    """Return the bearer token that a request carries, if any."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class TokenOwners(Generic[OwnerT]):
    """Owners of bearer tokens.

    A token is looked up by a digest with a key that is chosen at the start. So the time of a look-up depends on nothing that a
    sender of wrong tokens could learn from.

    Args:
        owners: each token with its owner.
    """

    def __init__(self, owners: Iterable[tuple[str, OwnerT]] = ()) -> None:
        self._key = secrets.token_bytes(32)
        self._owners = {self._digest(token): owner for token, owner in owners}

    def owner(self, request: web.BaseRequest) -> OwnerT | None:
        """Return the owner of the token that a request carries; `None` without a token, or with an unknown one."""
        token = bearer_token(request)
        return None if token is None else self._owners.get(self._digest(token))

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode(errors="surrogateescape"), key=self._key, digest_size=32).digest()
