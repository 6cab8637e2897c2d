"""The HTTP sink: one request per batch to any web service."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import quote

from edgerouter.message import Message
from edgerouter.objects import compress, content_encoding, content_type, encode, size_of, sizes_of
from edgerouter.outcome import Outcome
from edgerouter.sink import Limits, Sink, SinkContext
from edgerouter.sinks.http.config import HttpConfig
from edgerouter.sinks.http.exchange import Exchange, client_session, client_tls, reach, warn_of_weak_points
from edgerouter.telemetry.trace_context import trace_context

_LARGEST_WITHOUT_A_THREAD = 64 * 1024
"""Most bytes of payload encoded on the event loop; encoding and compressing more would block it for milliseconds."""


class HttpSink(Sink[HttpConfig]):
    """Sends each batch as one request."""

    partitioned = False

    def __init__(self, config: HttpConfig, exchange: Exchange, headers: Mapping[str, str]) -> None:
        self._config = config
        self._exchange = exchange
        self._headers = headers

    @classmethod
    @asynccontextmanager
    async def open(cls, config: HttpConfig, context: SinkContext) -> AsyncIterator[Self]:
        secret = "password" if config.password is not None else "secret of `secret_headers`" if config.secret_headers else ""
        warn_of_weak_points(config.url, config.tls, secret, context.name)
        tls = await client_tls(config.url, config.tls)
        await reach(config.url, tls, config.proxy, config.connect_timeout, config.where)
        headers = _credentials(config)
        if (encoding := content_encoding(config.compression)) is not None:
            headers["Content-Encoding"] = encoding
        async with client_session(tls, config.connect_timeout) as session:
            exchange = Exchange(session, config.method, config.url, where=config.where, proxy=config.proxy, timeout=context.timeout)
            yield cls(config, exchange, headers)

    @property
    def limits(self) -> Limits:
        config = self._config
        messages = 1 if config.framing == "payload" else config.max_request_messages
        return Limits(max_messages=messages, max_bytes=config.max_request_bytes, max_message_bytes=config.max_request_bytes)

    def size_of(self, message: Message) -> int:
        framing = self._config.framing
        if framing == "json-array":
            return size_of(message, "jsonl") + 1  # the comma replaces the line break; one bracket is shared by all
        return size_of(message, framing)

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        framing = self._config.framing
        return super().sizes_of(messages) if framing == "json-array" else sizes_of(messages, framing)

    async def write(self, batch: Sequence[Message]) -> Outcome:
        config = self._config
        if sum([len(message.payload) for message in batch]) > _LARGEST_WITHOUT_A_THREAD:
            body = await asyncio.to_thread(_body, batch, config)
        else:
            body = _body(batch, config)
        return Outcome(receipts=await self._exchange.send(body, {**self._headers, **_message_headers(batch, config)}))


def _credentials(config: HttpConfig) -> dict[str, str]:
    """Return the headers that every request carries."""
    headers = {**config.headers, **{name: value.get_secret_value() for name, value in config.secret_headers.items()}}
    if config.username is not None and config.password is not None:
        token = base64.b64encode(f"{config.username}:{config.password.get_secret_value()}".encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    return headers


def _body(batch: Sequence[Message], config: HttpConfig) -> bytes:
    if config.framing == "json-array":
        # line breaks occur only between the lines
        return compress(b"[" + encode(batch, "jsonl")[:-1].replace(b"\n", b",") + b"]", config.compression)
    return compress(encode(batch, config.framing), config.compression)


def _message_headers(batch: Sequence[Message], config: HttpConfig) -> dict[str, str]:
    first, last = batch[0], batch[-1]
    headers = {"Edgerouter-Id": quote(first.id if len(batch) == 1 else f"{first.id}-{last.place}")}
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
    if (context := trace_context(first)) is not None:
        headers["traceparent"] = context.traceparent
        if context.tracestate:
            headers["tracestate"] = context.tracestate
    return headers
