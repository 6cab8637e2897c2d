"""An honest sink, the service behind it, and their suite."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

import aiohttp
import pytest
from aiohttp import web
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
from edgerouter.testing import HttpSinkServer, Received, SinkConformance

TOKEN = "hush-hush"


class EchoServer(HttpSinkServer):
    """Takes JSON arrays of messages and answers for each whether it took it."""

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        items = json.loads(body)
        if len(items) > 10:
            return web.Response(status=413)
        return web.json_response([self._taken(item) for item in items])

    def _taken(self, item: Mapping[str, str]) -> str:
        payload = base64.b64decode(item["payload"])
        if self.rejected(payload):
            return "rejected"
        if self.fails_now(payload):
            return "busy"
        self.taken.append(Received(payload, item["topic"], item["id"]))
        return "ok"


class EchoConfig(SinkConfig):
    """The honest sink's fields."""

    url: str
    """Address of the service."""
    token: SecretStr = SecretStr("")
    """Credential of the service."""


class EchoSink(Sink[EchoConfig]):
    """An honest sink."""

    def __init__(self, session: aiohttp.ClientSession, config: EchoConfig) -> None:
        self.session = session
        self.config = config

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as session:
            yield cls(session, config)

    @property
    def limits(self) -> Limits:
        return Limits(max_messages=10, max_bytes=4000, max_message_bytes=2000)

    def size_of(self, message: Message) -> int:
        return len(message.payload) + len(message.topic.encode())

    async def write(self, batch: Sequence[Message]) -> Outcome:
        items = [{"id": m.id, "topic": m.topic, "payload": base64.b64encode(m.payload).decode()} for m in batch]
        try:
            async with self.session.post(self.config.url, json=items) as response:
                if response.status == 429:
                    raise Throttled("too much", retry_after=float(response.headers["Retry-After"]))
                if response.status == 403:
                    raise Unauthorized("may not")
                if response.status != 200:
                    raise Unavailable(f"status {response.status}")
                results = await response.json()
        except aiohttp.ClientError as error:
            raise Unavailable(str(error)) from error
        failed: dict[str, Rejected | Unavailable] = {"rejected": Rejected("never"), "busy": Unavailable("busy")}
        return Outcome([Failure(place, failed[result]) for place, result in enumerate(results) if result != "ok"])


class EchoSuite(SinkConformance):
    """The suite of the honest sink, and of all that derive from it."""

    sink_class: ClassVar[type[Sink[Any]]] = EchoSink

    @pytest.fixture
    async def server(self) -> AsyncIterator[EchoServer]:
        """Run the service."""
        async with EchoServer().running() as server:
            yield server

    @pytest.fixture
    def config(self, server: EchoServer) -> Mapping[str, Any]:
        return {"url": server.url, "token": TOKEN}
