"""Parses the URL of a broker."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import unquote

import msgspec

_SCHEMES: Final[dict[str, tuple[Literal["tcp", "websockets"], bool, int]]] = {
    "mqtt": ("tcp", False, 1883),
    "tcp": ("tcp", False, 1883),
    "mqtts": ("tcp", True, 8883),
    "ssl": ("tcp", True, 8883),
    "tls": ("tcp", True, 8883),
    "ws": ("websockets", False, 80),
    "wss": ("websockets", True, 443),
}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:/?#@\s]+)(?::(.*))?")


class BrokerAddress(msgspec.Struct, frozen=True):
    """Address and transport of a broker."""

    transport: Literal["tcp", "websockets"]
    tls: bool
    host: str
    port: int
    path: str
    """Path of a WebSocket; empty for TCP."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def split_credentials(url: str) -> tuple[str, str | None, str | None]:
    """The URL without `user:password@`, and these two, so that nothing that shows the URL shows them."""
    scheme = match[0] if (match := _SCHEME.match(url)) is not None else ""
    rest = url.removeprefix(scheme)
    authority, slash, path = rest.partition("/")
    credentials, at, host = authority.rpartition("@")
    if not at:
        return url, None, None
    user, colon, password = credentials.partition(":")
    return scheme + host + slash + path, unquote(user), unquote(password) if colon else None


@lru_cache(maxsize=256)  # of brokers in use: it is asked for with each write
def parse_address(url: str) -> BrokerAddress:
    """Take a URL apart; `mqtt://` is meant where no scheme is written.

    Raises:
        ValueError: not the URL of a broker, with the reason.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        scheme, rest = "mqtt", url.strip()
    known = _SCHEMES.get(scheme.lower())
    if known is None:
        raise ValueError(f"unknown scheme {scheme!r}; use mqtt, mqtts, ws or wss, for example mqtt://localhost:1883")
    transport, tls, default_port = known
    authority, slash, path = rest.partition("/")
    if not authority:
        raise ValueError("a broker's URL holds a host, for example mqtt://localhost:1883")
    if "@" in path and "@" not in authority and not _is_host_and_port(authority):
        # what stands here may be half of a password: not to be shown
        raise ValueError("the url holds an `@` behind a `/`; in a user name or password write %2F for `/`")
    match = _HOST_AND_PORT.fullmatch(authority)
    if match is None:
        raise ValueError(f"not a host and port: {authority!r}; write for example localhost:1883 or [::1]:1883")
    port = _port(match[2], default_port)
    if transport == "tcp" and path:
        raise ValueError("only ws:// and wss:// URLs have a path; topics stand elsewhere")
    return BrokerAddress(
        transport=transport,
        tls=tls,
        host=match[1].strip("[]"),
        port=port,
        path=(slash + path if path else "/mqtt") if transport == "websockets" else "",
    )


def _is_host_and_port(authority: str) -> bool:
    match = _HOST_AND_PORT.fullmatch(authority)
    return match is not None and (match[2] is None or match[2].isdigit())


def _port(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 65_535:
        raise ValueError(f"a port is a number from 1 to 65535, not {text!r}")
    return int(text)
