"""The InfluxDB sink: one request of line protocol per batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Self

from edgerouter.errors import Rejected
from edgerouter.message import Message
from edgerouter.objects import compress, content_encoding
from edgerouter.outcome import Failure, Outcome
from edgerouter.sink import Limits, Sink, SinkContext
from edgerouter.sinks.http.exchange import Exchange, client_session, client_tls, reach, warn_of_weak_points
from edgerouter.sinks.influxdb.config import InfluxDbConfig
from edgerouter.sinks.influxdb.points import ToLine, by_body, by_template

_ABOUT = 64
"""Upper bound of a point's bytes beside topic and payload."""
_LARGEST_WITHOUT_A_THREAD = 64 * 1024
"""Most bytes of payload encoded on the event loop; encoding and compressing more would block it for milliseconds."""


class InfluxDbSink(Sink[InfluxDbConfig]):
    """Writes each batch as one request. A point's time is derived from its message, so a retry writes the same point again."""

    partitioned = False

    def __init__(self, config: InfluxDbConfig, context: SinkContext, exchange: Exchange) -> None:
        self._config = config
        self._exchange = exchange
        self._query = {"org": config.org, "bucket": config.bucket, "precision": "ns"}
        self._headers = {
            "Authorization": f"Token {config.token.get_secret_value()}",
            "Content-Type": "text/plain; charset=utf-8",
        }
        self._line: ToLine = by_body() if config.points == "body" else by_template(config, context)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: InfluxDbConfig, context: SinkContext) -> AsyncIterator[Self]:
        url = f"{config.url}/api/v2/write"
        warn_of_weak_points(config.url, config.tls, "token", context.name)
        tls = await client_tls(config.url, config.tls)
        if context.probe and not config.probe:
            await reach(config.url, tls, config.proxy, config.connect_timeout, url)
        async with client_session(tls, config.connect_timeout) as session:
            sink = cls(config, context, Exchange(session, "POST", url, where=url, proxy=config.proxy, timeout=context.timeout))
            if config.probe:
                await sink._look()
            yield sink

    @property
    def limits(self) -> Limits:
        most = self._config.max_request_bytes
        return Limits(max_messages=self._config.max_request_messages, max_bytes=most, max_message_bytes=most)

    def size_of(self, message: Message) -> int:
        if len(message.payload) > self._config.max_request_bytes:
            return len(message.payload)  # decoding it only to find that it is too large would block the event loop
        try:
            return len(self._line(message)) + 1
        except ValueError:
            return len(message.topic) + len(message.payload) + _ABOUT  # it is rejected without being sent

    async def write(self, batch: Sequence[Message]) -> Outcome:
        large = sum([len(message.payload) for message in batch]) > _LARGEST_WITHOUT_A_THREAD
        body, failures = await asyncio.to_thread(self._encode, batch) if large else self._encode(batch)
        if body:
            await self._post(body)
        return Outcome(failures)

    def _encode(self, batch: Sequence[Message]) -> tuple[bytes, list[Failure]]:
        """Build the body of a request, and a failure for each message that does not make a point."""
        lines: list[bytes] = []
        failures: list[Failure] = []
        for index, message in enumerate(batch):
            try:
                lines.append(self._line(message))
            except ValueError as error:
                failures.append(Failure(index, Rejected(f"not a point: {error}")))
        return compress(b"\n".join(lines), self._config.compression) if lines else b"", failures

    async def _look(self) -> None:
        """Write nothing: InfluxDB answers after it has checked token, organization and bucket."""
        with suppress(Rejected):  # "no points": everything else is in order
            await self._post(b"")

    async def _post(self, body: bytes) -> None:
        headers = self._headers
        if body and (encoding := content_encoding(self._config.compression)) is not None:
            headers = {**headers, "Content-Encoding": encoding}
        await self._exchange.send(body, headers, self._query)
