"""Splits a secret into secret and public parts: the host of a URL and the names in a connection string are public."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_SOUNDS_SECRET: Final = re.compile(
    r"(pass(word|wd|phrase)?|pwd|secret|token|key|sig(nature)?|sas|credential|auth(orization)?|cookie|sharedaccesssignature)$",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(r"(https?|wss?|mqtts?|tcp|ssl|tls|amqps?|sb|socks[45]?h?|nats|redis|postgres(ql)?)://", re.IGNORECASE)
"""Any other scheme may be the beginning of a password."""
_PAIRS: Final = re.compile(r"\??\w[\w-]*=[^;]*(;\s*\w[\w-]*=[^;]*)*;?", re.DOTALL)
_SAS: Final = re.compile(r"(?:^|[?&\s])sig=([^&\s]+)")
_AUTHORIZATION: Final = re.compile(
    r"(?P<scheme>bearer|basic|token|apikey|sharedaccesssignature)\s+(?P<rest>.+)", re.IGNORECASE | re.DOTALL
)
_PEM_LINE: Final = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]+-----")
_SHORTEST_PATH: Final = 8
"""A shorter path of a URL, such as `/mqtt`, is not a credential."""
_LONG: Final = 20
"""Length from which a value of a JSON document counts as secret whatever its name."""


def sounds_secret(name: str) -> bool:
    """Return True if a field, variable or header of that name holds a secret."""
    return _SOUNDS_SECRET.search(name.replace("-", "_")) is not None


def secret_parts(text: str) -> Iterator[str]:
    """Return the parts of a secret that must not be shown."""
    text = text.strip()
    if not text:
        return
    if _PEM_LINE.search(text) and not text.startswith("{"):
        yield from filter(None, (block.strip() for block in _PEM_LINE.sub("\0", text).replace("BEGIN", "").split("\0")))
    elif text.startswith("{") and (document := _document(text)) is not None:
        yield from _of_document(document, text)
    elif (match := _AUTHORIZATION.fullmatch(text)) is not None:
        yield from _of_authorization(match["scheme"].lower(), match["rest"])
    elif _SCHEME.match(text) and not any(character.isspace() for character in text):
        yield from _of_url(text)
    elif signatures := _SAS.findall(text):
        yield from map(unquote, signatures)
        # a connection string may hold keys beside its signature
        yield from _of_pairs(text) if ";" in text else ()
    elif _PAIRS.fullmatch(text) and (found := list(_of_pairs(text))):
        yield from found
    else:
        yield text


def url_parts(url: str) -> Iterator[str]:
    """Return the secret parts of a URL written in plain text: its password, and a signature or token in its query."""
    credentials, query = _credentials(url), url.partition("#")[0].partition("?")[2]
    yield from credentials
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if value and sounds_secret(unquote(name)):
            yield unquote(value)


def _credentials(url: str) -> list[str]:
    """Return the password, up to the `@` that ends it: a password may hold `/`, `@` and `://`."""
    rest = url.partition("://")[2] if "://" in url else url
    before, at, _ = rest.partition("?")[0].rpartition("@")
    if not at:
        before, at, _ = rest.rpartition("@")
    user, colon, password = before.partition(":")
    if not at or (not colon and ("/" in user or "://" not in url)):
        # an email address, or a path: without a scheme only a user:password pair is a credential
        return []
    return [unquote(password)] if colon else [unquote(user)]


def _of_url(url: str) -> Iterator[str]:
    yield from _credentials(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        yield url
        return
    if len(parts.path) > _SHORTEST_PATH and "@" not in parts.path:
        yield unquote(parts.path).strip("/")
    for pair in parts.query.split("&"):
        yield from filter(None, [unquote(pair.partition("=")[2] or pair)])
    if parts.fragment:
        yield unquote(parts.fragment)


def _of_pairs(text: str) -> Iterator[str]:
    for pair in text.split(";"):
        name, _, value = pair.strip().partition("=")
        if sounds_secret(name) and value and not name.lower().endswith("keyname"):
            yield from secret_parts(value)


def _document(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _of_document(document: Mapping[str, Any], text: str) -> Iterator[str]:
    found: list[str] = []
    for name, value in document.items():
        if isinstance(value, Mapping):
            found += _of_document(value, "")
        elif isinstance(value, str) and (
            sounds_secret(name) or (len(value) >= _LONG and not _SCHEME.match(value) and "@" not in value)
        ):
            found += secret_parts(value)
    yield from found or filter(None, [text])


def _of_authorization(scheme: str, rest: str) -> Iterator[str]:
    yield from secret_parts(rest)
    if scheme == "basic":
        try:
            user_and_password = base64.b64decode(rest.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            return
        yield user_and_password.partition(":")[2]
