"""Cost of the Azure sinks: CPU per message in Event Hubs and Blob Storage, against that of the SDK alone, with a profile."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import json
import pstats
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvloop
from aiohttp import web

from edgerouter import Message, Sink
from edgerouter.testing import make_context
from edgerouter.testing.delivery import batches

TOPICS = 50
KEY = "a-key-of-the-benchmark"


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of the servers."""

    amqp: int
    websocket: int
    blob: int

    def connection_string(self, port: int) -> str:
        """Build the connection string of the hub."""
        names = f"SharedAccessKeyName=bench;SharedAccessKey={KEY};EntityPath=plant;UseDevelopmentEmulator=true"
        return f"Endpoint=sb://127.0.0.1:{port};{names}"


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a sink, its configuration, and the size of its batches."""

    name: str
    plugin: str
    config: dict[str, Any] = field(default_factory=dict)
    batch: int = 1000
    share: float = 1.0
    """Share of the messages to write, for slow cases."""


HUB, BLOB = "azure-event-hubs", "azure-blob"
CASES = (
    Case("azure-event-hubs, batches of 100", HUB, batch=100),
    Case("azure-event-hubs, batches of 1000", HUB),
    Case("azure-event-hubs, partition key", HUB, {"partition_key": "{topic}"}),
    Case("azure-event-hubs, WebSocket", HUB, {"transport": "websocket"}),
    Case("azure-event-hubs, a batch a message", HUB, batch=1, share=0.05),
    Case("azure-eventhub alone, send_batch of 100", "sdk", batch=100, share=0.5),
    Case("azure-eventhub alone, send_batch of 1000", "sdk", share=0.5),
    Case("azure-blob, jsonl.gz", BLOB, {"key": "{time:%H}/{id}.jsonl.gz"}),
    Case("azure-blob, jsonl.zst", BLOB, {"key": "{time:%H}/{id}.jsonl.zst"}),
    Case("azure-blob, append, jsonl", BLOB, {"key": "log.jsonl", "blob_type": "append"}),
    Case("azure-blob, a blob a message", BLOB, {"key": "{topic}/{id}", "framing": "payload"}, batch=1, share=0.02),
)


def messages(count: int) -> list[Message]:
    """Build JSON payloads of 200 bytes on 50 topics."""
    made = []
    for number in range(count):
        payload = (f'{{"n": {number}, "v": {number % 977 / 7:.6f}, "x": "' + "sensor reading " * 20)[:198] + '"}'
        topic = f"sensors/{number % TOPICS:03}/value"
        made.append(Message(topic, payload.encode(), 1_795_168_800_000_000_000 + number, 1, False, None, "bench", number + 1))
    return made


async def serve() -> None:
    """Run the servers and print their ports; in a separate process, so that their CPU does not count."""
    from support.amqp.event_hub import EventHubs  # noqa: PLC0415  (the strict server of the tests)
    from support.amqp.hub import Hub  # noqa: PLC0415  (as above)
    from support.amqp.sas import Policy  # noqa: PLC0415  (as above)
    from support.amqp.server import serve_tcp, serve_websocket  # noqa: PLC0415  (as above)

    service = EventHubs(Hub("plant"), policies={"bench": Policy(KEY)})
    size = 0

    async def blob(request: web.BaseRequest) -> web.Response:
        nonlocal size
        body = await request.read()
        if request.method in {"GET", "HEAD"} and request.query.get("restype") != "container":
            return web.Response(status=404, headers={"x-ms-error-code": "BlobNotFound"})
        size += len(body)
        headers = {"ETag": '"0x1"', "x-ms-blob-append-offset": str(size - len(body)), "x-ms-blob-committed-block-count": "1"}
        return web.Response(status=200 if request.method in {"GET", "HEAD"} else 201, headers=headers)

    runner = web.ServerRunner(web.Server(blob))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with serve_tcp(service) as amqp, serve_websocket(service) as websocket:
        print(json.dumps({"amqp": amqp.port, "websocket": websocket.port, "blob": runner.addresses[0][1]}), flush=True)
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Ports]:
    """Start the servers and yield their ports."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.azure", "--serve", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield Ports(**json.loads(await process.stdout.readline()))
    finally:
        process.terminate()
        await process.wait()


Writer = Callable[[Sequence[Message]], Coroutine[Any, Any, object]]


@contextlib.asynccontextmanager
async def opened(case: Case, ports: Ports) -> AsyncIterator[tuple[Writer, Sink[Any] | None]]:
    """Yield the function that writes a batch, and the sink that splits the batches."""
    if case.plugin == "sdk":
        from azure.eventhub import EventData  # noqa: PLC0415  (the benchmark of the core runs without the plugin)
        from azure.eventhub.aio import EventHubProducerClient  # noqa: PLC0415  (as above)
        from azure.eventhub.amqp import AmqpAnnotatedMessage  # noqa: PLC0415  (as above)

        async with EventHubProducerClient.from_connection_string(ports.connection_string(ports.amqp)) as client:

            async def send(batch: Sequence[Message]) -> None:
                events: list[EventData | AmqpAnnotatedMessage] = []
                for message in batch:
                    event = EventData(message.payload)
                    event.message_id = message.id
                    event.properties = {"topic": message.topic, "qos": message.qos, "retained": message.retained}
                    events.append(event)
                await client.send_batch(events)

            yield send, None
        return
    sink_class, config = _sink(case, ports)
    async with sink_class.open(sink_class.Config.model_validate(config | case.config), make_context("bench")) as sink:
        yield sink.write, sink


def _sink(case: Case, ports: Ports) -> tuple[type[Sink[Any]], dict[str, Any]]:
    if case.plugin == BLOB:
        from edgerouter_azure.blob.sink import BlobSink  # noqa: PLC0415  (the benchmark of the core runs without the plugin)

        url = f"http://127.0.0.1:{ports.blob}/plant"
        return BlobSink, {"account": "plant", "account_key": "a2V5", "endpoint": url, "container": "bench"}
    from edgerouter_azure.event_hubs.sink import EventHubsSink  # noqa: PLC0415  (as above)

    port = ports.websocket if case.config.get("transport") == "websocket" else ports.amqp
    return EventHubsSink, {"connection_string": ports.connection_string(port)}


def _cut(sink: Sink[Any] | None, load: Sequence[Message], most: int) -> Iterator[list[Message]]:
    for start in range(0, len(load), most):
        part = load[start : start + most]
        if sink is None or sink.limits.max_messages == 1:
            yield list(part)
            continue
        for places in batches(sink, part):
            yield [part[place] for place in places]


async def run(case: Case, ports: Ports, load: Sequence[Message], profile: cProfile.Profile | None = None) -> float:
    """Return CPU per message in microseconds, including the splitting of batches."""
    load = load[: int(len(load) * case.share)]
    async with opened(case, ports) as (write, sink):
        await write(load[:1])
        before = time.process_time()
        with profile or contextlib.nullcontext():
            for batch in _cut(sink, load, case.batch):
                await write(batch)
        return (time.process_time() - before) / len(load) * 1e6


async def measure(count: int) -> str:
    """Run every case and return a table."""
    load = messages(count)
    async with serving() as ports:
        rows = [f"| {case.name} | {await run(case, ports, load):.1f} |" for case in CASES]
    return "\n".join(["| sink | CPU us a message |", "|---|---:|", *rows])


async def profiled(count: int, case: Case) -> None:
    """Print a profile of one case."""
    profile = cProfile.Profile()
    async with serving() as ports:
        await run(case, ports, messages(count), profile)
    pstats.Stats(profile).sort_stats("tottime").print_stats(15)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.azure", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--profile", type=int, metavar="ROW", help="where the time of this row goes, from 0")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve())
    elif options.profile is not None:
        uvloop.run(profiled(options.messages, CASES[options.profile]))
    else:
        print(uvloop.run(measure(options.messages)))


if __name__ == "__main__":
    main()
