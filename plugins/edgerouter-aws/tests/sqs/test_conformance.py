"""The sink aws-sqs, in each of its kinds, against SQS that is as strict as the real one.

Covers: edgerouter_aws.sqs.packing, edgerouter_aws.sqs.sink.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from edgerouter import Message
from edgerouter.objects.framing import json_of
from edgerouter.testing import Received, SinkConformance
from edgerouter_aws.sqs.sink import SqsSink
from support.aws.sqs import SqsServer


class SqsConformance(SinkConformance):
    sink_class = SqsSink
    queue = "plant-alerts"
    more: Mapping[str, Any] = {}

    @pytest.fixture
    async def server(self) -> AsyncIterator[SqsServer]:
        async with SqsServer().running() as server:
            server.create(self.queue)
            yield server

    @pytest.fixture
    def config(self, server: SqsServer, keys: dict[str, Any]) -> Mapping[str, Any]:
        return {"queue": self.queue, "endpoint_url": server.url, **keys, **self.more}


class TestStandardQueue(SqsConformance):
    pass


class TestFifoQueue(SqsConformance):
    queue = "plant-alerts.fifo"
    effectively_once = True
    requests_per_write = 1


class TestFifoQueueWithMixedRequests(TestFifoQueue):
    more = {"strict_order": False}


class PackServer(SqsServer):
    """Opens packs, as a consumer does."""

    async def received(self) -> Sequence[Received]:
        lines = [line for pack in await super().received() for line in pack.payload.splitlines()]
        return [_line(line) for line in lines]


class ExactPackServer(SqsServer):
    """Opens packs with nothing but the standard library's parser."""

    async def received(self) -> Sequence[Received]:
        lines = [json.loads(line) for pack in await super().received() for line in pack.payload.splitlines()]
        return [Received(_exact(line["payload"]), line["topic"], line["id"]) for line in lines]


def _exact(payload: Any) -> bytes:
    return payload.encode() if isinstance(payload, str) else base64.b64decode(payload["base64"])


class _Line(msgspec.Struct):
    id: str
    topic: str
    payload: msgspec.Raw


def _line(line: bytes) -> Received:
    decoded = msgspec.json.decode(line, type=_Line)
    return Received(bytes(decoded.payload), decoded.topic, decoded.id)


class TestPackedQueue(SqsConformance):
    """A payload stands in its line as JSON: what is JSON as it is, other text as a string, other bytes as base64."""

    more = {"pack": "jsonl"}
    unsupported = {"fail_once": "a pack is taken whole or not at all"}

    def expected(self, message: Message) -> bytes:
        payload = json_of(message.payload)
        return payload.replace("\ufffe".encode(), b"\\ufffe").replace("\uffff".encode(), b"\\uffff")

    @pytest.fixture
    async def server(self) -> AsyncIterator[SqsServer]:
        async with PackServer().running() as server:
            server.create(self.queue)
            yield server


class TestGzippedQueue(TestPackedQueue):
    more = {"pack": "gzip"}


class TestExactlyPackedQueue(SqsConformance):
    """A payload stands in its line as text or as base64, so it comes back byte for byte."""

    more = {"pack": "gzip", "pack_framing": "jsonl-exact"}
    unsupported = {"fail_once": "a pack is taken whole or not at all"}

    @pytest.fixture
    async def server(self) -> AsyncIterator[SqsServer]:
        async with ExactPackServer().running() as server:
            server.create(self.queue)
            yield server


class TestPackedFifoQueue(TestPackedQueue):
    queue = "plant-alerts.fifo"
    effectively_once = True
