"""The table that turns what a NATS server says, and what nats-py raises, into edgerouter's errors."""

from __future__ import annotations

import re
import ssl
from typing import Final

from nats.errors import Error

from edgerouter import Unauthorized, Unavailable

_MOST_CHARACTERS: Final = 300
_SEED: Final = re.compile(r"\bS[A-Z2-7]{40,}")
"""Seed of an NKey."""

_BY_TEXT: Final[tuple[tuple[str, type[Unavailable], str], ...]] = (
    # https://docs.nats.io/reference/reference-protocols/nats-protocol#okerr
    ("authorization violation", Unauthorized, "look at the credentials"),
    ("authentication expired", Unauthorized, "make new credentials"),
    ("authentication revoked", Unauthorized, "the user was revoked"),
    ("authentication timeout", Unauthorized, "the server waited for credentials"),
    ("permissions violation", Unauthorized, "grant it to this user"),
    ("maximum connections", Unavailable, "raise max_connections of the server, or close others"),
    ("maximum account active connections", Unavailable, "raise the account's limit of connections, or close others"),
)
"""Texts of `-ERR` with their meaning and their cure."""


def said(text: str, doing: str) -> Unavailable:
    """Return the error for what a server said in `-ERR`."""
    lower = text.lower()
    for part, kind, hint in _BY_TEXT:
        if part in lower:
            return kind(f"{doing}: {shown(text)}: {hint}")
    return Unavailable(f"{doing}: {shown(text)}")


def not_connected(error: BaseException, doing: str) -> Unavailable:
    """Return the error for what was raised while connecting."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unavailable(f"{doing}: the server's certificate is not accepted: {error.verify_message}; look at `tls`")
    if isinstance(error, ssl.SSLError):
        return Unavailable(f"{doing}: TLS failed: {(error.reason or 'unknown').lower().replace('_', ' ')}")
    if isinstance(error, TimeoutError):
        return Unavailable(f"{doing}: no answer in time")
    if isinstance(error, OSError):
        return Unavailable(f"{doing}: {error.strerror or type(error).__name__}")
    if isinstance(error, Error):
        return said(str(error).removeprefix("nats: ").strip("'"), doing)
    return Unavailable(f"{doing}: it does not speak NATS ({type(error).__name__})")


def shown(text: str) -> str:
    """Return a server's text for an error: printable, without the seed of a key, and short."""
    printable = "".join(each if each.isprintable() else " " for each in text[: 4 * _MOST_CHARACTERS])
    return _SEED.sub("***", printable)[:_MOST_CHARACTERS]
