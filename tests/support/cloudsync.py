"""CloudSync's source and sink, with a spool in memory between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from edgerouter import Message, Rejected, SinkContext, SourceContext, Unavailable
from edgerouter_cloudsync.api.openapi import BASE
from edgerouter_cloudsync.sink import CloudSyncSink, CloudSyncSinkConfig
from edgerouter_cloudsync.source import CloudSyncSource, CloudSyncSourceConfig

_numbers = count(1)


@dataclass
class Plant:
    """A source and a sink that are open, and what the spool between them does."""

    source: CloudSyncSource
    sink: CloudSyncSink
    http: aiohttp.ClientSession
    spool: str
    stores: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the spool takes messages."""
    dead_letters: list[str] = field(default_factory=list)
    sequence: int = 0
    flushes: list[None] = field(default_factory=list)
    """One for each time that the source asked for a commit at once."""

    @property
    def url(self) -> str:
        """URL of the API, in front of a call's name."""
        return f"http://127.0.0.1:{self.source.port}{BASE}"

    async def post(self, call: str, **fields: Any) -> tuple[int, Any]:
        """Post fields as the documentation of CloudSync does; returns status and answer."""
        return await self.send("POST", call, json=fields)

    async def get(self, call: str) -> tuple[int, Any]:
        """Get a path below the API, which is encoded already."""
        return await self.send("GET", call)

    async def send(self, method: str, call: str, **options: Any) -> tuple[int, Any]:
        """Send a request; returns the status, and the answer where there is one."""
        async with self.http.request(method, URL(f"{self.url}/{call}", encoded=True), **options) as response:
            body = await response.read()
            return response.status, await response.json() if body else None

    async def publish(self, url: str, payload: str = "21.5", topic: str = "plant/line-1", appid: str = "reader") -> tuple[int, Any]:
        """Publish."""
        return await self.post("publish", appid=appid, payload=payload, topic=topic, url=url)

    async def subscribe(self, url: str, topic: str, appid: str = "reader") -> tuple[int, Any]:
        """Subscribe."""
        return await self.post("subscribe", appid=appid, topic=topic, url=url)

    async def run(self) -> None:
        """Store what comes and write it, with a queue for each broker."""
        queues: dict[object, asyncio.Queue[Message]] = {}
        async with asyncio.TaskGroup() as tasks:
            async for delivery in self.source.deliveries():
                await self.stores.wait()
                delivery.acknowledge()
                for each in delivery.messages:
                    self.sequence += 1
                    message = Message(
                        each.topic, each.payload, each.received_at, 1, False, each.properties, self.spool, self.sequence, "source"
                    )
                    key = self.sink.order_of(message)
                    if key not in queues:
                        queues[key] = asyncio.Queue()
                        tasks.create_task(self._drain(queues[key]), name=f"key {key}")
                    queues[key].put_nowait(message)

    async def _drain(self, queue: asyncio.Queue[Message]) -> None:
        while True:
            message = await queue.get()
            while True:
                try:
                    async with asyncio.timeout(5):
                        failed = (await self.sink.write([message])).failed
                except (Unavailable, TimeoutError):
                    await asyncio.sleep(0.05)
                    continue
                except Rejected as error:
                    self.dead_letters.append(str(error))
                    break
                if failed and isinstance(failed[0].error, Unavailable):
                    await asyncio.sleep(0.05)
                    continue
                self.dead_letters += [str(each.error) for each in failed]
                break


@asynccontextmanager
async def plant(
    state: Path | None = None, *, source: Mapping[str, Any] | None = None, sink: Mapping[str, Any] | None = None, **both: Any
) -> AsyncIterator[Plant]:
    """Run a source and a sink; fields of both by name, or of one."""
    source_config = CloudSyncSourceConfig.model_validate({"listen": "127.0.0.1:0", **both, **(source or {})})
    sink_config = CloudSyncSinkConfig.model_validate({**both, **(sink or {})})
    spool = f"5p00l{next(_numbers)}"
    flushes: list[None] = []
    context = SourceContext(
        "cloudsync", "edge-1", spool, lambda: flushes.append(None), lambda *_: None, lambda *_: None, state=state
    )
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(CloudSyncSource.open(source_config, context))
        taken = await stack.enter_async_context(CloudSyncSink.open(sink_config, SinkContext("cloudsync", "edge-1", spool)))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        running = Plant(opened, taken, http, spool, flushes=flushes)
        running.stores.set()
        task = asyncio.create_task(running.run(), name="the spool")
        try:
            yield running
        finally:
            task.cancel()
            await asyncio.wait((task,))
