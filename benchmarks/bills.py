"""Billed units of every cloud sink with its defaults, per million messages: in full batches, and one message at a time."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import aws, azure, gcp
from benchmarks.null_service import messages, numbers, serving

from edgerouter import Message, Sink
from edgerouter.config.model import BatchPolicy
from edgerouter.testing.delivery import batches

_FULL, _SINGLE = 50_000, 50
"""Messages that are written in full batches, a thousand of each topic, and one at a time."""
_PUBSUB_LEAST = 1000
"""Least bytes that Pub/Sub bills for a request."""

Count = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Bill:
    """Units billed for a million messages of 200 bytes."""

    sink: str
    full: float
    """In full batches: after an outage, at a high rate, or with `linger`."""
    single: float
    """With a request for each message: at a low rate without `linger`."""
    unit: str


def _cut(sink: Sink[Any], load: Sequence[Message]) -> Iterator[list[Message]]:
    """Cut full batches as the router does with its default policy."""
    most = BatchPolicy().max_messages
    by_partition: dict[Any, list[Message]] = {}
    for message in load:
        by_partition.setdefault(sink.partition_of(message), []).append(message)
    for group in by_partition.values():
        for start in range(0, len(group), most):
            part = group[start : start + most]
            for places in batches(sink, part):
                yield [part[place] for place in places]


async def _bill(name: str, sink: Sink[Any], count: Callable[[Sequence[Message]], Awaitable[float]], unit: str) -> Bill:
    """Write in both ways; `count` returns the units since it was called last, for the messages that were written."""
    load = messages(_FULL)
    await count(load[:1])
    for batch in _cut(sink, load):
        assert not (await sink.write(batch)).failed
    full = await count(load)
    for message in load[:_SINGLE]:
        assert not (await sink.write([message])).failed
    return Bill(name, full / _FULL * 1e6, await count(load[:_SINGLE]) / _SINGLE * 1e6, unit)


async def _aws() -> AsyncIterator[Bill]:
    async with serving("benchmarks.aws") as url:

        async def requests(_: Sequence[Message]) -> float:
            return (await numbers(url))["billed"]

        async def writes(_: Sequence[Message]) -> float:
            return (await numbers(url))["requests"]

        async with aws.opened(aws.Case("", "aws-sqs", {"queue": "plant"}), url) as sink:
            yield await _bill("aws-sqs", sink, requests, "requests, one for each 64 KiB begun")
        async with aws.opened(aws.Case("", "aws-sqs", {"queue": "plant", "pack": "gzip"}), url) as sink:
            yield await _bill("aws-sqs, pack: gzip", sink, requests, "requests, one for each 64 KiB begun")
        async with aws.opened(aws.Case("", "aws-s3", {"bucket": "plant"}), url) as sink:
            yield await _bill("aws-s3", sink, writes, "PUT requests")


async def _azure() -> AsyncIterator[Bill]:
    async with azure.serving() as ports:
        for name, plugin, unit in (
            ("azure-event-hubs", azure.HUB, "ingress events, one for each 64 KB begun, whatever the batch"),
            ("azure-blob", azure.BLOB, "write operations"),
        ):
            async with azure.opened(azure.Case("", plugin), ports) as (_, sink):
                assert sink is not None
                if plugin == azure.HUB:
                    yield await _bill(name, sink, _each, unit)
                else:
                    yield await _bill(name, sink, _Writes(sink), unit)


async def _each(load: Sequence[Message]) -> float:
    return len(load)


class _Writes:
    """Counts the calls of a sink's `write`, each one request."""

    def __init__(self, sink: Sink[Any]) -> None:
        self._count = 0
        write = sink.write

        async def counted(batch: Sequence[Message]) -> Any:
            self._count += 1
            return await write(batch)

        sink.write = counted  # type: ignore[method-assign]  # a counter in front of it

    async def __call__(self, _: Sequence[Message]) -> float:
        count, self._count = self._count, 0
        return count


async def _gcp() -> AsyncIterator[Bill]:
    async with serving("benchmarks.gcp") as url:

        async def megabytes(load: Sequence[Message]) -> float:
            requests = (await numbers(url))["requests"]
            return max(requests * _PUBSUB_LEAST, sum(len(message.payload) for message in load)) / 1e6

        async def writes(_: Sequence[Message]) -> float:
            return (await numbers(url))["requests"]

        async with gcp.opened(gcp.Case("", "gcp-pubsub"), url) as sink:
            unit = "MB of payload without attributes, 1,000 bytes for a smaller request"
            yield await _bill("gcp-pubsub", sink, megabytes, unit)
        async with gcp.opened(gcp.Case("", "gcp-storage"), url) as sink:
            yield await _bill("gcp-storage", sink, writes, "class A operations")


_CLOUDS: tuple[tuple[str, Callable[[], AsyncIterator[Bill]]], ...] = (
    ("edgerouter_aws", _aws),
    ("edgerouter_azure", _azure),
    ("edgerouter_gcp", _gcp),
)


async def measure() -> list[Bill]:
    """Count for every cloud whose plugin is installed."""
    bills: list[Bill] = []
    for module, cloud in _CLOUDS:
        if importlib.util.find_spec(module) is not None:
            async with contextlib.aclosing(cloud()) as counted:  # type: ignore[type-var]  # they are generators
                bills += [bill async for bill in counted]
    return bills


def as_markdown(bills: Sequence[Bill]) -> str:
    """Format the bills as a table."""
    lines = ["| billed for a million messages | full batches | one at a time | unit |", "|---|---:|---:|---|"]
    lines += [f"| {bill.sink} | {bill.full:,.0f} | {bill.single:,.0f} | {bill.unit} |" for bill in bills]
    return "\n".join(lines) + "\n"
