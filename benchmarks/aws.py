"""Cost of the AWS sinks: CPU per message, and billed requests per million messages, against a server that accepts everything."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.null_service import messages, numbers, serve, serving

from edgerouter import Message, Sink
from edgerouter.testing import make_context
from edgerouter.testing.delivery import batches

KEYS = {"region": "eu-west-1", "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI"}
BILLED_BYTES = 64 * 1024
"""SQS bills each 64 KiB of a request as a request (SQS pricing)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a sink, its configuration, and the size of its batches."""

    name: str
    plugin: str
    config: dict[str, Any]
    max_messages: int = 1000
    share: float = 1.0
    """Share of the messages to write, for slow cases."""


CASES = (
    Case("aws-sqs, standard queue", "aws-sqs", {"queue": "plant"}),
    Case("aws-sqs, FIFO queue", "aws-sqs", {"queue": "plant.fifo"}),
    Case("aws-sqs, pack: jsonl", "aws-sqs", {"queue": "plant", "pack": "jsonl"}),
    Case("aws-sqs, pack: gzip", "aws-sqs", {"queue": "plant", "pack": "gzip"}, max_messages=10_000),
    Case("aws-s3, jsonl.gz", "aws-s3", {"bucket": "plant", "key": "{time:%H}/{id}.jsonl.gz"}, max_messages=10_000),
    Case("aws-s3, jsonl.zst", "aws-s3", {"bucket": "plant", "key": "{time:%H}/{id}.jsonl.zst"}, max_messages=10_000),
    Case("aws-s3, an object a message", "aws-s3", {"bucket": "plant", "key": "{topic}/{id}", "framing": "payload"}, share=0.05),
)


@dataclass(frozen=True, slots=True)
class Row:
    """Result of one case."""

    name: str
    messages: int
    cpu_seconds: float
    requests: int
    billed: int

    @property
    def cpu(self) -> float:
        """CPU per message in microseconds."""
        return self.cpu_seconds / self.messages * 1e6

    def per_million(self, count: int) -> int:
        """Scale `count` to a million messages."""
        return round(count / self.messages * 1e6)


class NullServer(asyncio.Protocol):
    """Reads requests and accepts everything."""

    requests = 0
    billed = 0

    def __init__(self) -> None:
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._data[:end])
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < whole:
                return
            body = bytes(self._data[end + 4 : whole])
            del self._data[:whole]
            assert self._transport is not None
            self._transport.write(self._answer(head, body))

    def _answer(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"GET /numbers"):
            answer = json.dumps({"requests": NullServer.requests, "billed": NullServer.billed}).encode()
            NullServer.requests = NullServer.billed = 0
            return _ok(answer)
        NullServer.requests += 1
        NullServer.billed += max(1, -(-len(body) // BILLED_BYTES))
        if head.startswith(b"PUT"):
            return b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 0\r\n\r\n'
        count = body.count(b'"MessageBody"')
        taken = [{"Id": str(place), "MessageId": "m", "MD5OfMessageBody": "0" * 32} for place in range(count)]
        return _ok(json.dumps({"Successful": taken, "Failed": []}).encode())


def _ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@contextlib.asynccontextmanager
async def opened(case: Case, url: str) -> AsyncIterator[Sink[Any]]:
    """Open the sink of a case."""
    sink_class = _sink(case.plugin)
    more = {"addressing": "path"} if case.plugin == "aws-s3" else {"max_message_bytes": "1MiB", "account_id": "123456789012"}
    config = sink_class.Config.model_validate({"endpoint_url": url, "probe": False, **KEYS, **more, **case.config})
    async with sink_class.open(config, make_context("bench")) as sink:
        yield sink


async def run(case: Case, url: str, load: Sequence[Message]) -> Row:
    """Write all messages, in batches as the router builds them."""
    load = load[: int(len(load) * case.share)]
    async with opened(case, url) as sink:
        await sink.write(load[:1])
        await numbers(url)
        before = time.process_time()
        for batch in _batches(sink, load, case.max_messages):
            assert not (await sink.write(batch)).failed
        spent = time.process_time() - before
    told = await numbers(url)
    billed = told["billed"] if case.plugin == "aws-sqs" else told["requests"]
    return Row(case.name, len(load), spent, told["requests"], billed)


def _batches(sink: Sink[Any], load: Sequence[Message], most: int) -> Iterator[list[Message]]:
    for start in range(0, len(load), most):
        part = load[start : start + most]
        for places in batches(sink, part):
            yield [part[place] for place in places]


def _sink(plugin: str) -> type[Sink[Any]]:
    if plugin == "aws-s3":
        from edgerouter_aws.s3.sink import S3Sink  # noqa: PLC0415  (the benchmark of the core runs without the plugin)

        return S3Sink
    from edgerouter_aws.sqs.sink import SqsSink  # noqa: PLC0415  (as above)

    return SqsSink


async def measure(count: int) -> list[Row]:
    """Return all rows."""
    load = messages(count)
    async with serving("benchmarks.aws") as url:
        return [await run(case, url, load) for case in CASES]


def as_markdown(rows: Sequence[Row]) -> str:
    """Format the rows as a table."""
    lines = ["| sink | CPU us a message | requests a million | billed a million |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row.name} | {row.cpu:.1f} | {row.per_million(row.requests):,} | {row.per_million(row.billed):,} |" for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aws", description=__doc__)
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
