"""The InfluxDB sink: one request of line protocol per batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Self

import aiohttp

from edgerouter.errors import MessageRejected, SinkUnauthorized
from edgerouter.message import Message
from edgerouter.objects import compress, content_encoding
from edgerouter.sink import Failure, Limits, Sink, SinkContext
from edgerouter.sinks.http_answers import error_of, excerpt, unreachable
from edgerouter.sinks.influxdb_config import InfluxDbConfig
from edgerouter.sinks.influxdb_points import ToLine, by_body, by_template
from edgerouter.tls import TlsConfig, make_context

_LONGEST_ANSWER = 16 * 1024
_ABOUT = 64
"""More than a point needs beside topic and payload."""
_LARGEST_WITHOUT_A_THREAD = 64 * 1024
"""Compressing more would hold up the event loop for milliseconds."""


class InfluxDbSink(Sink[InfluxDbConfig]):
    """Writes each batch as one request. A point's time follows from its message, so a retry writes the same point again."""

    Config = InfluxDbConfig

    def __init__(self, config: InfluxDbConfig, context: SinkContext, session: aiohttp.ClientSession) -> None:
        self._config = config
        self._session = session
        self._where = f"{config.url}/api/v2/write"
        self._query = {"org": config.org, "bucket": config.bucket, "precision": "ns"}
        self._headers = {
            "Authorization": f"Token {config.token.get_secret_value()}",
            "Content-Type": "text/plain; charset=utf-8",
        }
        self._proxy = config.proxy.get_secret_value() if config.proxy is not None else None
        self._line: ToLine = by_body() if config.points == "body" else by_template(config, context)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: InfluxDbConfig, context: SinkContext) -> AsyncIterator[Self]:
        try:
            tls = await asyncio.to_thread(make_context, config.tls or TlsConfig()) if config.url.startswith("https:") else False
        except ValueError as error:
            raise SinkUnauthorized(str(error)) from None
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0),  # the router bounds how many requests there are
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout),  # the router bounds a request
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            sink = cls(config, context, session)
            if config.probe:
                await sink._look()
            yield sink

    @property
    def limits(self) -> Limits:
        most = self._config.max_request_bytes
        return Limits(max_messages=self._config.max_request_messages, max_bytes=most, max_message_bytes=most)

    def size_of(self, message: Message) -> int:
        try:
            return len(self._line(message)) + 1
        except ValueError:
            return len(message.topic) + len(message.payload) + _ABOUT  # it is rejected without being sent

    async def write(self, batch: Sequence[Message]) -> Sequence[Failure]:
        lines: list[bytes] = []
        failures: list[Failure] = []
        for index, message in enumerate(batch):
            try:
                lines.append(self._line(message))
            except ValueError as error:
                failures.append(Failure(index, MessageRejected(f"not a point: {error}")))
        if lines:
            await self._post(b"\n".join(lines))
        return failures

    async def _look(self) -> None:
        """Write nothing, which InfluxDB answers after it has looked at token, organization and bucket."""
        with suppress(MessageRejected):  # "no points": everything else is well
            await self._post(b"")

    async def _post(self, body: bytes) -> None:
        headers = self._headers
        compression = self._config.compression
        if body and compression != "none":
            large = len(body) > _LARGEST_WITHOUT_A_THREAD
            body = await asyncio.to_thread(compress, body, compression) if large else compress(body, compression)
            headers = {**headers, "Content-Encoding": content_encoding(compression) or ""}
        try:
            async with self._session.post(
                self._where, params=self._query, data=body, headers=headers, allow_redirects=False, proxy=self._proxy
            ) as response:
                answer = await response.content.read(_LONGEST_ANSWER)
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(error, self._where) from None  # the cause may show headers
        if not 200 <= response.status < 300:
            said = excerpt(answer, [self._config.token.get_secret_value()])
            raise error_of(response.status, response.headers.get("Retry-After"), said, self._where)
