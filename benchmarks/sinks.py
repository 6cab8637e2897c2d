"""Cost of every cloud sink in one table: CPU per message, requests per million, and billed units."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from benchmarks import aws, azure, gcp, mqtt_sinks, nats
from benchmarks.null_service import messages, serving

from edgerouter import Message


@dataclass(frozen=True, slots=True)
class Row:
    """One sink in one configuration."""

    sink: str
    messages: int
    cpu_us_a_message: float
    requests_a_million: float
    bill: str
    """Units billed by the service per million messages."""


def _operations(requests: float) -> str:
    return f"{requests:,.0f} write operations"


def _share(messages: Sequence[Message], share: float) -> Sequence[Message]:
    return messages[: int(len(messages) * share)]


async def _aws(count: int) -> AsyncIterator[Row]:
    load = messages(count)
    async with serving("benchmarks.aws") as url:
        for case in aws.CASES:
            row = await aws.run(case, url, load)
            requests, billed = row.per_million(row.requests), row.per_million(row.billed)
            bill = f"{billed:,} requests, one for each 64 KiB begun" if case.plugin == "aws-sqs" else _operations(requests)
            yield Row(case.name, row.messages, row.cpu, requests, bill)


async def _azure(count: int) -> AsyncIterator[Row]:
    """Measure writes: one transfer to Event Hubs, or one Put Blob or Append Block."""
    whole = azure.messages(count)
    async with azure.serving() as ports:
        for case in azure.CASES:
            if case.plugin == "sdk":
                continue
            load = _share(whole, case.share)
            async with azure.opened(case, ports) as (write, sink):
                await write(load[:1])
                writes = 0
                before = time.process_time()
                for batch in azure._cut(sink, load, case.batch):  # noqa: SLF001  (the same batches as in its own table)
                    await write(batch)
                    writes += 1
                spent = time.process_time() - before
            requests = writes / len(load) * 1e6
            hub = case.plugin == azure.HUB
            bill = "1,000,000 ingress events, one for each 64 KB begun" if hub else _operations(requests)
            yield Row(case.name, len(load), spent / len(load) * 1e6, requests, bill)


async def _gcp(count: int) -> AsyncIterator[Row]:
    load = messages(count)
    async with serving("benchmarks.gcp") as url:
        for case in gcp.CASES:
            if case.plugin == "library":
                continue
            row = await gcp.run(case, url, load)
            requests = row.requests / row.messages * 1e6
            # Pub/Sub bills the published bytes before transport compression, and 1,000 bytes for a smaller request
            data = sum([len(message.payload) for message in load]) / len(load)
            pubsub = case.plugin == "gcp-pubsub"
            bill = f"{data:,.0f} MB of payload, and the attributes" if pubsub else _operations(requests)
            yield Row(case.name, row.messages, row.cpu_seconds / row.messages * 1e6, requests, bill)


async def _mqtt(count: int) -> AsyncIterator[Row]:
    """Measure publishes to a broker; the hubs among them bill what is published."""
    for result in await mqtt_sinks.measure(count):
        billed = result.billed / result.messages * 1e6
        bill = {
            mqtt_sinks.FLOOR.sink: "nothing",
            mqtt_sinks.MQTT: "nothing",
            mqtt_sinks.HUB: f"{billed:,.0f} messages, one for each 4 KiB begun",
            mqtt_sinks.CORE: "1,000,000 messages, one for each 5 KiB begun; none with Basic Ingest",
        }[result.case.sink]
        yield Row(result.case.name, result.messages, result.cpu, result.publishes / result.messages * 1e6, bill)


async def _nats(count: int) -> AsyncIterator[Row]:
    """Measure a stream, out and in; nothing of it is billed."""
    async with contextlib.aclosing(nats.measure(count)) as measured:  # type: ignore[type-var]  # it is a generator
        async for cost in measured:
            yield Row(cost.name, cost.messages, cost.cpu_us_a_message, 1e6, "nothing")


CLOUDS: tuple[tuple[str, Callable[[int], AsyncIterator[Row]]], ...] = (
    ("edgerouter_aws", _aws),
    ("edgerouter_azure", _azure),
    ("edgerouter_gcp", _gcp),
    ("edgerouter_nats", _nats),
    ("edgerouter", _mqtt),
)


async def measure(count: int) -> list[Row]:
    """Measure every sink of every cloud whose plugin is installed."""
    rows: list[Row] = []
    for module, cloud in CLOUDS:
        if importlib.util.find_spec(module) is None:
            print(f"not measured: {module} is not installed", file=sys.stderr)
            continue
        async with contextlib.aclosing(cloud(count)) as measured:  # type: ignore[type-var]  # they are generators
            async for row in measured:
                print(f"{row.sink}: {row.cpu_us_a_message:.1f} us", file=sys.stderr)
                rows.append(row)
    return rows


def as_markdown(rows: Sequence[Row]) -> str:
    """Format the costs as a table."""
    lines = ["| cloud sink | CPU, us a message | requests a million messages | what the bill counts |", "|---|---:|---:|---|"]
    lines += [f"| {row.sink} | {row.cpu_us_a_message:.1f} | {row.requests_a_million:,.0f} | {row.bill} |" for row in rows]
    return "\n".join(lines) + "\n"
