"""The HTTP sink: one request per batch to any web service."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import quote, urlsplit

import aiohttp

from edgerouter.errors import SinkUnauthorized, SinkUnavailable
from edgerouter.message import Message
from edgerouter.objects import compress, content_encoding, content_type, encode, size_of
from edgerouter.sink import Failure, Limits, Sink, SinkContext
from edgerouter.sinks.http_answers import error_of, excerpt, unreachable
from edgerouter.sinks.http_config import HttpConfig
from edgerouter.tls import TlsConfig, make_context

_LONGEST_ANSWER = 64 * 1024  # an answer that is read to its end leaves the connection open for the next request


class HttpSink(Sink[HttpConfig]):
    """Sends each batch as one request."""

    Config = HttpConfig

    def __init__(self, config: HttpConfig, session: aiohttp.ClientSession) -> None:
        self._config = config
        self._session = session
        self._headers = {**config.headers, **{name: value.get_secret_value() for name, value in config.secret_headers.items()}}
        self._secrets = [value.get_secret_value() for value in config.secret_headers.values()]
        if config.username is not None and config.password is not None:
            token = base64.b64encode(f"{config.username}:{config.password.get_secret_value()}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"
            self._secrets += [token, config.password.get_secret_value()]
        if (encoding := content_encoding(config.compression)) is not None:
            self._headers["Content-Encoding"] = encoding

    @classmethod
    @asynccontextmanager
    async def open(cls, config: HttpConfig, context: SinkContext) -> AsyncIterator[Self]:  # noqa: ARG003  (a web service needs no name of ours)
        try:
            tls = await asyncio.to_thread(make_context, config.tls or TlsConfig()) if config.url.startswith("https:") else False
        except ValueError as error:
            raise SinkUnauthorized(str(error)) from None
        await _reach(config, tls if isinstance(tls, ssl.SSLContext) else None)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0),  # the router bounds how many requests there are
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout),  # the router bounds a request
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        ) as session:
            yield cls(config, session)

    @property
    def limits(self) -> Limits:
        config = self._config
        messages = 1 if config.framing == "payload" else config.max_request_messages
        return Limits(max_messages=messages, max_bytes=config.max_request_bytes, max_message_bytes=config.max_request_bytes)

    def size_of(self, message: Message) -> int:
        framing = self._config.framing
        if framing == "json-array":
            return size_of(message, "jsonl") + 1  # the comma takes the line break's place; one bracket is shared by all
        return size_of(message, framing)

    async def write(self, batch: Sequence[Message]) -> Sequence[Failure]:
        config = self._config
        body = compress(_body(batch, config), config.compression)
        try:
            async with self._session.request(
                config.method,
                config.url,
                data=body,
                headers=self._headers | _message_headers(batch, config),
                allow_redirects=False,
                proxy=config.proxy.get_secret_value() if config.proxy is not None else None,
            ) as response:
                answer = await _beginning(response)
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(error, config.where) from None  # the cause may show headers
        if not response.ok or response.status >= 300:
            said = excerpt(answer, self._secrets)
            raise error_of(response.status, response.headers.get("Retry-After"), said, config.where)
        return ()


async def _reach(config: HttpConfig, tls: ssl.SSLContext | None) -> None:
    """Whether the service is there, and is who it should be: so much can be found out without sending it anything."""
    parts = urlsplit(config.proxy.get_secret_value() if config.proxy is not None else config.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(config.connect_timeout):
            _, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls if config.proxy is None else None)
    except ssl.SSLCertVerificationError as error:
        raise SinkUnauthorized(f"{config.where}: TLS: certificate verify failed: {error.verify_message}") from None
    except TimeoutError:
        raise SinkUnavailable(f"{config.where} cannot be reached: no connection in time") from None
    except OSError as error:
        raise SinkUnavailable(f"{config.where} cannot be reached: {error.strerror or type(error).__name__}") from None
    writer.transport.abort()


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    answer = b""
    while len(answer) < _LONGEST_ANSWER and (more := await response.content.read(_LONGEST_ANSWER)):
        answer += more
    return answer


def _body(batch: Sequence[Message], config: HttpConfig) -> bytes:
    if config.framing == "json-array":
        return b"[" + encode(batch, "jsonl")[:-1].replace(b"\n", b",") + b"]"  # a line break stands only between the lines
    return encode(batch, config.framing)


def _message_headers(batch: Sequence[Message], config: HttpConfig) -> dict[str, str]:
    first, last = batch[0], batch[-1]
    headers = {"Edgerouter-Id": quote(first.id if len(batch) == 1 else f"{first.id}-{last.sequence}")}
    if config.framing != "payload":
        kind = "application/json" if config.framing == "json-array" else content_type(config.framing)
        headers["Content-Type"] = config.content_type or kind
        return headers
    said = first.properties.content_type if first.properties is not None else None
    if said is not None and not (said.isascii() and said.isprintable()):
        said = None
    headers["Content-Type"] = config.content_type or said or content_type("payload")
    headers["Edgerouter-Topic"] = quote(first.topic, errors="surrogatepass")
    headers["Edgerouter-Time"] = first.time.isoformat()
    headers["Edgerouter-Qos"] = str(first.qos)
    headers["Edgerouter-Retained"] = "true" if first.retained else "false"
    return headers
