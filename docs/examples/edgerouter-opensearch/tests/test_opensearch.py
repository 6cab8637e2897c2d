"""The sink keeps every promise of the conformance suite, against a bulk interface that takes, refuses and fails as the real one."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import msgspec
import pytest
from aiohttp import web
from edgerouter_opensearch import OpenSearchSink

from edgerouter.testing import HttpSinkServer, Received, SinkConformance


class OpenSearch(HttpSinkServer):
    """`POST /<index>/_bulk` with `create` actions; `documents` holds what was made."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[str, bytes] = {}

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        assert request.path == "/plant/_bulk"
        assert body.endswith(b"\n")
        lines = body.split(b"\n")[:-1]
        results = [
            self.create(json.loads(action)["create"]["_id"], line) for action, line in zip(lines[::2], lines[1::2], strict=True)
        ]
        return web.json_response(
            {"errors": any("error" in result for result in results), "items": [{"create": r} for r in results]}
        )

    def create(self, name: str, line: bytes) -> dict[str, Any]:
        received = read(line)
        if name in self.documents:
            return {"_id": name, "status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "exists already"}}
        if self.rejected(received.payload):
            return {"_id": name, "status": 400, "error": {"type": "mapper_parsing_exception", "reason": "failed to parse field"}}
        if self.fails_now(received.payload):
            return {"_id": name, "status": 429, "error": {"type": "rejected_execution_exception", "reason": "queue is full"}}
        self.documents[name] = line
        self.taken.append(received)
        return {"_id": name, "status": 201}


def read(line: bytes) -> Received:
    """A message back from its document, byte for byte."""
    document = json.loads(line)
    payload = document["payload"]
    if isinstance(payload, dict) and set(payload) == {"base64"}:
        return Received(base64.b64decode(payload["base64"]), document["topic"], document["id"])
    if isinstance(payload, str):
        return Received(payload.encode(), document["topic"], document["id"])
    return Received(bytes(msgspec.json.decode(line, type=dict[str, msgspec.Raw])["payload"]), document["topic"], document["id"])


class TestOpenSearchSink(SinkConformance):
    sink_class = OpenSearchSink
    effectively_once: ClassVar[bool] = True

    @pytest.fixture
    async def server(self) -> AsyncIterator[OpenSearch]:
        async with OpenSearch().running() as server:
            yield server

    @pytest.fixture
    def config(self, server: OpenSearch) -> Mapping[str, Any]:
        return {"url": server.url, "index": "plant", "api_key": "a-secret-of-the-test"}
