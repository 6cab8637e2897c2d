"""One request to a web service: sent once, answered by its status line."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog
from pydantic import SecretStr

from edgerouter.errors import Unauthorized, Unavailable
from edgerouter.http_client import PLAIN, beginning, bounded
from edgerouter.sinks.http.responses import error_of, excerpt, unreachable
from edgerouter.tls import TlsConfig, make_context
from edgerouter.weak_points import warn, weak_points

log = structlog.get_logger("edgerouter.http")

_LONGEST_REST: Final = 16 * 1024
"""Most bytes read of an answer's body; a connection whose answer is longer is closed."""
_REST_SECONDS: Final = 1.0
_SHARE_OF_TIMEOUT: Final = 0.9
"""Share of a write's timeout after which the rest of an answer is abandoned: a timeout would send the batch again."""


async def client_tls(url: str, tls: TlsConfig | None) -> ssl.SSLContext | None:
    """Create the TLS context for a URL; `None` for `http:`.

    Raises:
        Unauthorized: a file cannot be used.
    """
    if not url.startswith("https:"):
        return None
    try:
        return await asyncio.to_thread(make_context, tls or TlsConfig())
    except ValueError as error:
        raise Unauthorized(str(error)) from None


def warn_of_weak_points(url: str, tls: TlsConfig | None, secret: str, sink: str) -> None:
    """Log weak points that let others read or change the traffic.

    Args:
        url: of the service.
        tls: as configured.
        secret: kind of credential sent, such as "token"; empty when there is none.
        sink: name of the sink.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    points = weak_points(
        host, encrypted=parts.scheme == "https", insecure=tls is not None and tls.insecure, secret=secret, instead="https://"
    )
    warn(points, log.bind(sink=sink), f"sink {sink}", host)


@asynccontextmanager
async def client_session(tls: ssl.SSLContext | None, connect_timeout: float) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session whose answers are bounded; the router bounds the number of requests and the time of each."""
    async with aiohttp.ClientSession(
        connector=bounded(aiohttp.TCPConnector(ssl=tls or False, limit=0)),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=PLAIN,
        auto_decompress=False,
    ) as session:
        yield session


async def reach(url: str, tls: ssl.SSLContext | None, proxy: SecretStr | None, seconds: float, where: str) -> None:
    """Connect to a service and verify its certificate; sends nothing.

    Raises:
        Unavailable: it cannot be reached, or its certificate is not valid.
    """
    parts = urlsplit(proxy.get_secret_value() if proxy is not None else url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls if proxy is None else None)
    except ssl.SSLCertVerificationError as error:
        raise Unauthorized(f"{where}: TLS: certificate verify failed: {error.verify_message}") from None
    except TimeoutError:
        raise Unavailable(f"{where} cannot be reached: the connection timed out") from None
    except OSError as error:
        raise Unavailable(f"{where} cannot be reached: {error.strerror or type(error).__name__}") from None
    writer.transport.abort()


class Exchange:
    """Sends requests to one address.

    Args:
        session: made by `client_session`.
        method: of every request.
        url: with its query.
        where: the address to show in errors, without secrets.
        proxy: URL of an HTTP proxy; it may hold a password.
        timeout: seconds that the router allows for a write.
    """

    def __init__(
        self, session: aiohttp.ClientSession, method: str, url: str, *, where: str, proxy: SecretStr | None, timeout: float
    ) -> None:
        self._session = session
        self._method = method
        self._url = url
        self._where = where
        self._proxy = proxy.get_secret_value() if proxy is not None else None
        self._patience = timeout * _SHARE_OF_TIMEOUT

    async def send(self, body: bytes, headers: Mapping[str, str], params: Mapping[str, str] | None = None) -> str | None:
        """Send one request and return once its status line reports success; nothing in the answer's body can undo that.

        Returns:
            name of what was made of it, where the answer has one: `Location`, else `ETag`.

        Raises:
            Unavailable: no answer, or one that does not report success.
            Rejected: the service will never accept these messages.
        """
        until = asyncio.get_running_loop().time() + self._patience
        try:
            async with self._session.request(
                self._method, self._url, params=params, data=body, headers=headers, allow_redirects=False, proxy=self._proxy
            ) as response:
                said = await _rest(response, until)
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(error, self._where) from None  # the cause may show headers
        if not 200 <= response.status <= 299:
            raise error_of(response.status, response.headers.get("Retry-After"), excerpt(said), self._where)
        return response.headers.get("Location") or response.headers.get("ETag")


async def _rest(response: aiohttp.ClientResponse, until: float) -> bytes:
    """Read the rest of a short answer, so that its connection serves the next request; close any other connection."""
    read = b""
    try:
        async with asyncio.timeout_at(min(until, asyncio.get_running_loop().time() + _REST_SECONDS)):
            read = await beginning(response, _LONGEST_REST)
    except (aiohttp.ClientError, OSError):
        response.close()
    else:
        if not response.content.at_eof():
            response.close()
    plain = response.headers.get("Content-Encoding", "identity") == "identity"
    return read if plain else b""
