"""A service whose requests wait for each other: proof that a sink has that many in flight at once, independent of timing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from edgerouter import Message, Sink, SinkConfig
from support.pipeline import ListReader, configured, running, until

_SECONDS = 60.0


class Meeting:
    """Mixin for a server's class: the first `together` requests with messages are answered once all of them have arrived."""

    together = 16

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.there = 0
        self._met = asyncio.Event()

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer like the service, but later."""
        server: Any = super()
        if self.carries_messages(request):
            self.there += 1
            if self.there >= self.together:
                self._met.set()
            async with asyncio.timeout(_SECONDS):
                await self._met.wait()
        answer: web.StreamResponse = await server.answer(request, body)
        return answer

    def carries_messages(self, request: web.BaseRequest) -> bool:
        """Delegate to the service."""
        server: Any = super()
        return bool(server.carries_messages(request))


async def write_together(plugin: type[Sink[Any]], config: SinkConfig, messages: Sequence[Message], concurrency: int) -> None:
    """Run the sink until all messages are delivered."""
    sink = replace(configured(plugin, concurrency=concurrency, timeout=_SECONDS), config=config)
    reader = ListReader(*messages)
    async with running(sink, reader):
        await until(lambda: not reader.pending, _SECONDS)
    assert [rejection.reason for rejection in reader.rejections] == []
    assert len(reader.delivered_messages) == len(messages)
