"""Sink `opensearch`: a document for each message in an index of OpenSearch or Elasticsearch, over the bulk interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
from pydantic import SecretStr

from edgerouter import (
    Failure,
    Limits,
    Message,
    Outcome,
    Rejected,
    Sink,
    SinkConfig,
    SinkContext,
    Throttled,
    Unauthorized,
    Unavailable,
)
from edgerouter.http_client import bounded
from edgerouter.objects import encode, size_of


class OpenSearchConfig(SinkConfig):
    """A document for each message in an index of OpenSearch or Elasticsearch."""

    url: str
    """Address of the service, for example `https://search.plant.example:9200`."""
    index: str
    """Index or data stream."""
    api_key: SecretStr | None = None
    """API key of the service."""


class OpenSearchSink(Sink[OpenSearchConfig]):
    """One bulk request for each batch."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    @classmethod
    @asynccontextmanager
    async def open(cls, config: OpenSearchConfig, context: SinkContext) -> AsyncIterator[Self]:  # noqa: ARG003  (no name of ours is needed)
        headers = {"Content-Type": "application/x-ndjson"}
        if config.api_key is not None:
            headers["Authorization"] = f"ApiKey {config.api_key.get_secret_value()}"
        async with aiohttp.ClientSession(connector=bounded(aiohttp.TCPConnector()), headers=headers) as session:
            yield cls(session, f"{config.url}/{config.index}/_bulk")

    @property
    def limits(self) -> Limits:
        return Limits(max_bytes=1_000_000, max_message_bytes=1_000_000)

    def size_of(self, message: Message) -> int:
        return size_of(message, "jsonl") + len(_action(message))

    async def write(self, batch: Sequence[Message]) -> Outcome:
        body = b"".join(_action(message) + encode([message], "jsonl") for message in batch)
        try:
            async with self._session.post(self._url, data=body) as response:
                if not 200 <= response.status < 300:
                    wait = response.headers.get("Retry-After", "")
                    raise _error(response.status, response.reason or "", float(wait) if wait.isdecimal() else None)
                items = (await response.json())["items"]
        except aiohttp.ClientError as error:
            raise Unavailable(f"{type(error).__name__} at {self._url}") from None
        # 409: an earlier attempt whose answer was lost created this document
        results = [(index, item["create"]) for index, item in enumerate(items)]
        failed = [Failure(index, _error(r["status"], _reason(r))) for index, r in results if r["status"] not in (200, 201, 409)]
        return Outcome(failed)


def _action(message: Message) -> bytes:
    """Use the message id as the document id, so that a repeat creates no second document."""
    return b'{"create":{"_id":"%b"}}\n' % message.id.encode()


def _error(status: int, reason: str, wait: float | None = None) -> Unavailable | Rejected:
    """Map every answer to an error, in one table."""
    if status == 429:
        return Throttled(f"429: {reason}", retry_after=wait)
    if status in (401, 403, 404):
        return Unauthorized(f"{status}: {reason}")
    if status in (400, 413):
        return Rejected(f"{status}: {reason}")
    return Unavailable(f"{status}: {reason}")


def _reason(result: dict[str, Any]) -> str:
    return str(result.get("error", {}).get("reason", ""))
