"""Read server-sent events of a running router: over the Unix socket of its spool, or over its URL with a token."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from edgerouter.admin.client import NoRouter, Refused, UnixConnection, trusting
from edgerouter.errors import ConfigurationError
from edgerouter.http_client import explain_plain_port

SILENT_SECONDS: Final = 30.0
"""Without a sign of life, which the router sends every ten seconds, it is gone."""
MOST_LINE_BYTES: Final = 1024**2
"""Longest line; the other side may be another program."""
_MOST_REFUSAL_BYTES: Final = 64 * 1024


class _Connect(Protocol):
    def __call__(self) -> http.client.HTTPConnection: ...


class Sent(NamedTuple):
    """One event."""

    kind: str
    """Empty for the usual one."""
    data: Any


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a router."""

    name: str
    """For people."""
    connect: _Connect
    headers: dict[str, str] = field(default_factory=dict)
    path: str = ""
    """Stands before the paths of the API."""


def at_folder(folder: Path) -> Address:
    """Return the address of the router that runs on a spool folder."""
    return Address(str(folder), partial(UnixConnection, folder, SILENT_SECONDS))


def at_url(url: str, token: str | None, authorities: Path | None) -> Address:
    """Return the address of a router with `admin.listen`.

    Args:
        url: `http://HOST:PORT` or `https://HOST:PORT`.
        token: sent as bearer token.
        authorities: PEM file of the authorities that signed the router's certificate; the system's by default.

    Raises:
        ConfigurationError: the URL or the file cannot be used.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"--url: {error}") from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigurationError("--url: write http://HOST:PORT or https://HOST:PORT, and give a token with --token-file")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    path = parts.path.rstrip("/")
    if parts.scheme == "http":
        return Address(url, partial(http.client.HTTPConnection, host, port, timeout=SILENT_SECONDS), headers, path)
    connect = partial(http.client.HTTPSConnection, host, port, timeout=SILENT_SECONDS, context=trusting(authorities))
    return Address(url, connect, headers, path)


def events(address: Address, path: str) -> Iterator[Sent]:
    """Yield events until the router ends the stream; an event without a kind comes first, when the stream is open.

    Raises:
        NoRouter: it does not answer, or the connection broke.
        Refused: it refuses; the text says why.
    """
    connection = address.connect()
    try:
        connection.request("GET", address.path + path, headers={"Accept": "text/event-stream", **address.headers})
        answer = connection.getresponse()
        if answer.status != 200 or answer.headers.get_content_type() != "text/event-stream":
            raise Refused(_refusal(answer))
        yield Sent("open", None)
        yield from _parsed(answer)
    except PermissionError as error:
        raise Refused(f"{address.name}: the control socket belongs to another user; run this as the router's user") from error
    except ssl.SSLError as error:
        raise Refused(f"{address.name}: {explain_plain_port(error) or error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise NoRouter(f"no router answers at {address.name} ({getattr(error, 'strerror', None) or error})") from error
    finally:
        connection.close()


def _parsed(answer: http.client.HTTPResponse) -> Iterator[Sent]:
    kind, data = "", b""
    while line := answer.readline(MOST_LINE_BYTES):
        if not line.endswith(b"\n"):
            raise http.client.HTTPException("a line is longer than any of a router, or cut off")
        name, _, value = line.rstrip(b"\r\n").partition(b": ")
        if name == b"event":
            kind = value.decode(errors="replace")
        elif name == b"data":
            data = value
        elif not name and data:
            yield Sent(kind, _decoded(data))
            kind, data = "", b""


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise http.client.HTTPException("an event is not JSON") from None


def _refusal(answer: http.client.HTTPResponse) -> str:
    body = answer.read(_MOST_REFUSAL_BYTES)
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"HTTP {answer.status} is not an answer of a router with this endpoint"
