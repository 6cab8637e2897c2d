"""POST requests to one address over aiohttp's connections, without its client building each anew (docs/decisions/024)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from botocore import exceptions as botocore_errors
from botocore.httpsession import mask_proxy_url
from multidict import CIMultiDict
from yarl import URL

_SWITCHING_PROTOCOLS = 101
_LEAST_FINAL = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to a request, with its whole body."""

    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    body: bytes


class Poster:
    """Posts bodies to one address, under a head that is rendered once.

    aiohttp's connector opens, pools and closes the connections, through TLS and proxies, and its parser reads the answers; its
    client, which costs as much again as both, is left out. Redirects are not followed, and cookies are not kept.

    Args:
        session: its connections and time-outs are used.
        url: address of the requests.
        headers: headers of every request.
        proxy: the proxy on the way to this address; `None` without one.
        proxy_headers: headers for the proxy alone.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        headers: Mapping[str, str],
        proxy: str | None = None,
        proxy_headers: Mapping[str, str] | None = None,
    ) -> None:
        if session.connector is None:
            raise RuntimeError("the session is closed")
        self._connector = session.connector
        self._timeout = session.timeout
        to_proxy = CIMultiDict(proxy_headers or {})
        # aiohttp's client makes one for each request; this one describes them all: where to connect, how, and the headers added
        self._pattern = aiohttp.ClientRequest(
            "POST",
            URL(url, encoded=True),
            headers=headers,
            loop=asyncio.get_running_loop(),
            session=session,
            proxy=URL(proxy) if proxy is not None else None,
            proxy_headers=to_proxy,
        )
        # aiohttp adds it once connected; connections are pooled under these headers too, so that another would be opened
        to_proxy["Host"] = self._pattern.headers["Host"]
        self._head: bytes | None = None

    async def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request and read its answer.

        Args:
            headers: headers of this request, beside those of every request.
            body: written at once, whatever the connection takes.

        Raises:
            BotoCoreError: as the SDK raises it for lost connections, time-outs, and answers that are not HTTP.
        """
        more = _lines({**headers, "Content-Length": str(len(body))})
        try:
            return await self._exchange(more, body)
        except (aiohttp.ClientError, OSError) as error:
            raise self._of_sdk(error) from error

    async def _exchange(self, more: bytes, body: bytes) -> Answer:
        connection = await self._connect()
        try:
            protocol, transport = _ends(connection)
            protocol.set_response_params(read_until_eof=True, auto_decompress=False, read_timeout=self._timeout.sock_read)
            transport.write(b"".join((self._head or self._render(), more, b"\r\n", body)))
            protocol.start_timeout()
            message, payload = await protocol.read()
            while message.code < _LEAST_FINAL and message.code != _SWITCHING_PROTOCOLS:
                message, payload = await protocol.read()
            answer = Answer(message.code, message.headers, await payload.read())
            if transport.get_write_buffer_size():
                connection.close()  # an answer to a part of the request: the service may not read the rest
        except HttpProcessingError as error:
            connection.close()
            info = self._pattern.request_info
            raise aiohttp.ClientResponseError(info, (), status=error.code, message=error.message) from error
        except BaseException:
            connection.close()
            raise
        connection.release()
        return answer

    async def _connect(self) -> Connection:
        try:
            return await self._connector.connect(self._pattern, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {self._pattern.url}") from error

    def _render(self) -> bytes:
        """Return request line and headers of every request. To be called with a connection: connecting adds those for a proxy."""
        pattern = self._pattern
        target = str(pattern.url) if pattern.proxy is not None and not pattern.is_ssl() else pattern.url.raw_path_qs
        headers = {name: value for name, value in pattern.headers.items() if name != "Content-Length"}
        self._head = f"POST {target} HTTP/1.1\r\n".encode() + _lines(headers)
        return self._head

    def _of_sdk(self, error: aiohttp.ClientError | OSError) -> botocore_errors.BotoCoreError:
        """Return the error that the SDK's own connections raise in the same case."""
        url = str(self._pattern.url)
        if isinstance(error, aiohttp.ClientSSLError):
            return botocore_errors.SSLError(endpoint_url=url, error=error)
        if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
            return botocore_errors.ProxyConnectionError(proxy_url=mask_proxy_url(str(self._pattern.proxy)), error=error)
        if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
            return botocore_errors.ConnectionClosedError(endpoint_url=url, error=error)
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return botocore_errors.ConnectTimeoutError(endpoint_url=url, error=error)
        if isinstance(error, aiohttp.ServerTimeoutError):
            return botocore_errors.ReadTimeoutError(endpoint_url=url, error=error)
        if isinstance(error, aiohttp.ClientConnectionError | OSError):
            return botocore_errors.EndpointConnectionError(endpoint_url=url, error=error)
        return botocore_errors.HTTPClientError(error=error)


def _ends(connection: Connection) -> tuple[ResponseHandler, asyncio.Transport]:
    """Return the two ends of a connection.

    Raises:
        ClientConnectionResetError: it was lost since it was opened.
    """
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or transport.is_closing():
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")
    return protocol, transport


def _lines(headers: Mapping[str, str]) -> bytes:
    """Render headers.

    Raises:
        HTTPClientError: one holds a line break, which would begin another header.
    """
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise botocore_errors.HTTPClientError(error=ValueError("a header holds a line break; do the credentials hold one?"))
    return text.encode()
