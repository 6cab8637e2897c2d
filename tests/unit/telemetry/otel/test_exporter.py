"""Spans and metrics reach a collector as the protocol wants them; one that is dead or slow costs spans alone.

Covers also: edgerouter.telemetry.otel.families, edgerouter.telemetry.otel.span, edgerouter.telemetry.export,
edgerouter.telemetry.spans, edgerouter.telemetry.otel.session.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from edgerouter.config.telemetry import OtelConfig, TelemetryConfig
from edgerouter.message import Message, Properties
from edgerouter.telemetry.export import exporting
from edgerouter.telemetry.otel.exporter import SPANS_WAITING, OtelExporter
from edgerouter.telemetry.spans import Write
from support.otlp import Collector, collector
from support.pipeline import until

ABOUT = {"service.name": "edgerouter", "service.instance.id": "spool-1"}
NOW = 1_700_000_000_000_000_000


def config(url: str, **changes: Any) -> OtelConfig:
    return OtelConfig.model_validate({"endpoint": url, "sample_ratio": 1, "timeout": 1} | changes)


def messages(number: int, *, traced: int = 0) -> list[Message]:
    """Messages of which the first belong to a trace each."""
    properties = [
        Properties(user=(("traceparent", f"00-{n:032x}-{n:016x}-01"), ("tracestate", "v=1"))) if n <= traced else None
        for n in range(1, number + 1)
    ]
    return [Message("t", b"x", 1, properties=each, spool="spool-1", sequence=n) for n, each in enumerate(properties, 1)]


def write(number: int = 3, *, traced: int = 0, error: str = "", kind: str = "aws-sqs") -> Write:
    return Write("cloud", kind, messages(number, traced=traced), 99, NOW, 0.5, error)


def nothing() -> Iterable[Metric]:
    return ()


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def test_a_write_is_a_span_by_the_conventions_with_links_to_the_traces_of_its_messages() -> None:
    async with collector("key") as found:
        exporter = OtelExporter(config(found.url, headers={"api-key": "key"}), ABOUT)
        async with exporter.exporting(nothing):
            exporter.wrote(write(traced=2))
            exporter.wrote(write(error="Throttled", kind="my-sink"))
            await found.until(lambda: exporter.status.spans == 2)
    good, bad = found.spans
    assert (good.name, good.kind, good.end_time_unix_nano - good.start_time_unix_nano) == (
        "write cloud",
        Span.SPAN_KIND_PRODUCER,
        5e8,
    )
    assert attributes(good) == {
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "send",
        "messaging.operation.name": "write",
        "messaging.destination.name": "cloud",
        "messaging.batch.message_count": 3,
        "edgerouter.batch.bytes": 99,
        "edgerouter.first_message.id": "spool-1-1",
    }
    assert [(link.trace_id[-1], link.span_id[-1]) for link in good.links] == [(1, 1), (2, 2)]
    assert (attributes(bad)["error.type"], attributes(bad)["messaging.system"]) == ("Throttled", "my_sink")
    assert bad.status.code == Status.STATUS_CODE_ERROR
    assert found.resource.items() >= ABOUT.items()


async def test_the_links_of_a_span_are_bounded_and_name_each_trace_once() -> None:
    async with collector() as found:
        exporter = OtelExporter(config(found.url), ABOUT)
        async with exporter.exporting(nothing):
            exporter.wrote(write(1000, traced=1000))
            exporter.wrote(write(3, traced=3)._replace(messages=messages(1, traced=1) * 100))
            await found.until(lambda: len(found.spans) == 2)
    assert [len(span.links) for span in found.spans] == [32, 1]


async def test_metrics_are_exported_with_their_type_unit_and_labels() -> None:
    counter = CounterMetricFamily("edgerouter_sink_written_bytes", "Bytes.", labels=("sink",))
    counter.add_metric(("out",), 5)
    gauge = GaugeMetricFamily("edgerouter_ready", "Ready.", value=1.0)
    histogram = HistogramMetricFamily("edgerouter_sink_latency_seconds", "Age.", labels=("sink",))
    histogram.add_metric(("out",), [("0.1", 2), ("1.0", 5), ("+Inf", 6)], 4.5)
    empty = CounterMetricFamily("edgerouter_dropped", "Dropped.", labels=("sink",))
    async with collector() as found:
        exporter = OtelExporter(config(found.url, metrics_interval=1), ABOUT)
        async with exporter.exporting(lambda: [counter, gauge, histogram, empty]):
            await found.until(lambda: found.metrics)
    assert found.metrics.keys() == {"edgerouter_sink_written_bytes", "edgerouter_ready", "edgerouter_sink_latency_seconds"}
    written = found.metrics["edgerouter_sink_written_bytes"]
    assert (written.unit, written.sum.is_monotonic, written.sum.data_points[0].as_double) == ("By", True, 5.0)
    assert [(each.key, each.value.string_value) for each in written.sum.data_points[0].attributes] == [("sink", "out")]
    (age,) = found.metrics["edgerouter_sink_latency_seconds"].histogram.data_points
    assert (list(age.explicit_bounds), list(age.bucket_counts), age.count, age.sum) == ([0.1, 1.0], [2, 3, 1], 6, 4.5)
    assert not age.HasField("max")
    assert found.metrics["edgerouter_ready"].gauge.data_points[0].as_double == 1.0


@pytest.mark.parametrize("fault", ["dead", "slow", "refuses"])
async def test_a_collector_that_takes_nothing_costs_spans_alone_and_they_are_counted(fault: str) -> None:
    async with collector() as found:
        found.stalls, found.status = fault == "slow", 400 if fault == "refuses" else 200
        exporter = OtelExporter(config("http://127.0.0.1:1" if fault == "dead" else found.url), ABOUT)
        longest = began = time.monotonic()
        async with exporter.exporting(nothing):
            for _ in range(SPANS_WAITING + 500):
                exporter.wrote(write(traced=1))
            longest = time.monotonic() - began
            await found.until(lambda: exporter.status.failed_exports, 30)
            waits = time.monotonic()
        assert time.monotonic() - waits < 6
        assert exporter.status.spans == 0
        assert exporter.status.lost_spans >= 500
        assert longest < 5


async def test_an_endless_answer_of_a_collector_is_cut() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\r\n")
        with suppress(OSError):
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    exporter = OtelExporter(config(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), ABOUT)
    async with exporter.exporting(nothing):
        exporter.wrote(write())
        await until(lambda: exporter.status.spans == 1)
    server.close()


async def test_a_redirect_does_not_lead_the_key_to_another_host() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 307 Elsewhere\r\nLocation: %b/v1/traces\r\nContent-Length: 0\r\n\r\n" % found.url.encode())
        writer.close()

    async with collector() as found:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        exporter = OtelExporter(config(f"http://127.0.0.1:{port}", headers={"api-key": "key"}), ABOUT)
        async with exporter.exporting(nothing):
            exporter.wrote(write())
            await until(lambda: exporter.status.failed_exports)
        server.close()
        assert found.requests == 0


async def test_an_export_goes_on_once_the_collector_is_back() -> None:
    async with collector() as found:
        found.status = 400
        exporter = OtelExporter(config(found.url), ABOUT)
        async with exporter.exporting(nothing):
            exporter.wrote(write())
            await found.until(lambda: exporter.status.failed_exports == 1)
            found.status = 200
            exporter.wrote(write())
            await found.until(lambda: found.spans)
        assert (exporter.status.spans, exporter.status.lost_spans) == (1, 1)


async def test_the_share_of_batches_that_become_spans_is_that_of_the_configuration() -> None:
    exporter = OtelExporter(config("http://127.0.0.1:1", sample_ratio=0.25), ABOUT)
    assert 2000 < sum(exporter.sampled() for _ in range(10_000)) < 3000
    assert not any(OtelExporter(config("http://127.0.0.1:1", sample_ratio=0), ABOUT).sampled() for _ in range(1000))


async def test_nothing_is_exported_without_an_endpoint() -> None:
    async with exporting(TelemetryConfig(), ABOUT, nothing) as exporter:
        assert exporter is None


async def test_what_waits_is_sent_when_the_router_stops() -> None:
    async with collector() as found:
        async with exporting(TelemetryConfig(otel=config(found.url)), ABOUT, nothing) as exporter:
            assert exporter is not None
            exporter.wrote(write())
            await asyncio.sleep(0)
        assert isinstance(found, Collector)
        assert len(found.spans) == 1
