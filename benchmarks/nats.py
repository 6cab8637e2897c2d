"""CPU of the sink and the source nats-jetstream, against a real server in another process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.null_service import messages

from edgerouter import SourceContext
from edgerouter.testing import make_context
from support.nats.cluster import NatsServer

BATCH = 500


class Cost(NamedTuple):
    """One measured plugin."""

    name: str
    messages: int
    cpu_us_a_message: float


async def measure(count: int) -> AsyncIterator[Cost]:
    """Publish messages to a stream, then receive them again."""
    from edgerouter_nats.connection import connecting  # noqa: PLC0415  (the benchmark of the core runs without the plugin)
    from edgerouter_nats.jetstream.sink import JetStreamSink, JetStreamSinkConfig  # noqa: PLC0415  (as above)
    from edgerouter_nats.jetstream.source import JetStreamSource, JetStreamSourceConfig  # noqa: PLC0415  (as above)

    load = messages(count)
    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder), jetstream=()) as server:
        sink_config = JetStreamSinkConfig.model_validate({"servers": [server.url], "subject": "bench.{topic}", "stream": "BENCH"})
        async with connecting(sink_config, "benchmark") as connector:
            await (await connector.connection()).jetstream().add_stream(name="BENCH", subjects=["bench.>"])
        async with JetStreamSink.open(sink_config, make_context()) as sink:
            before = time.process_time()
            for start in range(0, count, BATCH):
                assert not (await sink.write(load[start : start + BATCH])).failed
            yield Cost("nats-jetstream", count, (time.process_time() - before) / count * 1e6)
        source_config = JetStreamSourceConfig.model_validate({"servers": [server.url], "stream": "BENCH", "durable": "benchmark"})
        async with JetStreamSource.open(source_config, _context()) as source:
            got, before = 0, time.process_time()
            async for delivery in source.deliveries():
                got += len(delivery.messages)
                delivery.acknowledge()
                if got >= count:
                    break
            yield Cost("nats-jetstream (source)", count, (time.process_time() - before) / count * 1e6)


def _context() -> SourceContext:
    return SourceContext(
        name="benchmark",
        host="edge-1",
        spool="5p00l",
        flush_now=lambda: None,
        dropped=lambda _topic, _messages, _reason: None,
        connected=lambda _yes, _reason: None,
    )
