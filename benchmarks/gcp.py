"""Cost of the Google Cloud sinks: CPU per message, requests and bytes per million, against a server that accepts everything."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from benchmarks.null_service import messages, numbers, serve, serving

from edgerouter import Message, Sink
from edgerouter.testing import make_context


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a sink, its configuration, and the size of its batches."""

    name: str
    plugin: str
    config: dict[str, Any] = field(default_factory=dict)
    max_messages: int = 1000
    share: float = 1.0
    """Share of the messages to write, for slow cases."""


CASES = (
    Case("gcloud-aio-pubsub alone, for comparison", "library"),
    Case("gcp-pubsub", "gcp-pubsub"),
    Case("gcp-pubsub, compression", "gcp-pubsub", {"compression": True}),
    Case("gcp-pubsub, 50 ordering keys", "gcp-pubsub", {"ordering_key": "{topic}"}, max_messages=20_000),
    Case("gcp-storage, jsonl.gz", "gcp-storage", {"key": "{time:%H}/{id}.jsonl.gz"}, max_messages=10_000),
    Case("gcp-storage, jsonl.zst", "gcp-storage", {"key": "{time:%H}/{id}.jsonl.zst"}, max_messages=10_000),
    Case("gcp-storage, an object a message", "gcp-storage", {"key": "{topic}/{id}", "framing": "payload"}, share=0.05),
)


@dataclass(frozen=True, slots=True)
class Row:
    """Result of one case."""

    name: str
    messages: int
    cpu_seconds: float
    requests: int
    sent: int

    def as_markdown(self) -> str:
        """Format one line of the table."""
        cpu = self.cpu_seconds / self.messages * 1e6
        return f"| {self.name} | {cpu:.1f} | {self.requests / self.messages * 1e6:,.0f} | {self.sent / self.messages:,.0f} |"


class NullServer(asyncio.Protocol):
    """Reads requests and accepts everything."""

    requests = 0
    received = 0

    def __init__(self) -> None:
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._data[:end])
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < whole:
                return
            body = bytes(self._data[end + 4 : whole])
            del self._data[:whole]
            assert self._transport is not None
            answer = json.dumps(self._answer(head, body)).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)
            )

    def _answer(self, head: bytes, body: bytes) -> dict[str, Any]:
        if head.startswith(b"GET /numbers"):
            told = {"requests": NullServer.requests, "sent": NullServer.received}
            NullServer.requests = NullServer.received = 0
            return told
        if head.startswith(b"GET"):
            return {}
        NullServer.requests += 1
        NullServer.received += len(body)
        if b":publish" in head:
            text = gzip.decompress(body) if b"Content-Encoding: gzip" in head else body
            return {"messageIds": ["1"] * text.count(b'"data"')}
        name = re.search(rb'"name": "([^"]+)"', body)
        return {"name": name[1].decode() if name else ""}


@contextlib.asynccontextmanager
async def opened(case: Case, url: str) -> AsyncIterator[Sink[Any]]:
    """Open the sink of a case."""
    sink_class = _sink(case.plugin)
    target = {"topic": "projects/plant/topics/bench"} if case.plugin == "gcp-pubsub" else {"bucket": "plant"}
    config = sink_class.Config.model_validate({"endpoint": url, "anonymous": True, **target, **case.config})
    async with sink_class.open(config, make_context("bench")) as sink:
        yield sink


async def run(case: Case, url: str, load: Sequence[Message]) -> Row:
    """Write all messages, in batches as the router builds them."""
    load = load[: int(len(load) * case.share)]
    if case.plugin == "library":
        return await run_library(case, url, load)
    async with opened(case, url) as sink:
        await sink.write(load[:1])
        await numbers(url)
        before = time.process_time()
        for batch in _batches(sink, load, case.max_messages):
            assert not (await sink.write(batch)).failed
        spent = time.process_time() - before
    return Row(case.name, len(load), spent, **await numbers(url))


async def run_library(case: Case, url: str, load: Sequence[Message]) -> Row:
    """Measure the same through gcloud-aio's own `publish`."""
    from gcloud.aio.pubsub import PublisherClient, PubsubMessage  # noqa: PLC0415  (the benchmark of the core runs without it)

    async with PublisherClient(api_root=f"{url}/v1") as client:
        await client.publish("projects/plant/topics/bench", [PubsubMessage(b"1")])
        await numbers(url)
        before = time.process_time()
        for start in range(0, len(load), case.max_messages):
            batch = [
                PubsubMessage(message.payload, topic=message.topic, id=message.id, time=message.time.isoformat())
                for message in load[start : start + case.max_messages]
            ]
            await client.publish("projects/plant/topics/bench", batch)
        spent = time.process_time() - before
    return Row(case.name, len(load), spent, **await numbers(url))


def _batches(sink: Sink[Any], load: Sequence[Message], most: int) -> Iterator[list[Message]]:
    limit = sink.limits.max_messages or most
    for start in range(0, len(load), most):
        by_partition = sorted(load[start : start + most], key=lambda message: str(sink.partition_of(message)))
        for _, group in groupby(by_partition, sink.partition_of):
            batch = list(group)
            assert sum(map(sink.size_of, batch)) <= (sink.limits.max_bytes or sys.maxsize)  # the router counts too
            for place in range(0, len(batch), limit):
                yield batch[place : place + limit]


def _sink(plugin: str) -> type[Sink[Any]]:
    if plugin == "gcp-storage":
        from edgerouter_gcp.storage.sink import StorageSink  # noqa: PLC0415  (the benchmark of the core runs without the plugin)

        return StorageSink
    from edgerouter_gcp.pubsub.sink import PubsubSink  # noqa: PLC0415  (as above)

    return PubsubSink


async def measure(count: int) -> list[Row]:
    """Return all rows."""
    load = messages(count)
    async with serving("benchmarks.gcp") as url:
        return [await run(case, url, load) for case in CASES]


def as_markdown(rows: Sequence[Row]) -> str:
    """Format the rows as a table."""
    head = ["| sink | CPU us a message | requests a million | bytes sent a message |", "|---|---:|---:|---:|"]
    return "\n".join(head + [row.as_markdown() for row in rows])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gcp", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(NullServer))
    else:
        print(as_markdown(asyncio.run(measure(options.messages))))


if __name__ == "__main__":
    main()
