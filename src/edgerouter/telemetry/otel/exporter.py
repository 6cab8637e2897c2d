"""The exporter: spans wait in a bounded queue, metrics are taken at an interval, and a thread sends both.

A collector that is dead or slow costs nothing but what it does not get: the event loop only appends to the queue, and a full queue
loses spans, which are counted.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.metrics_core import Metric as Family

from edgerouter.config.telemetry import OtelConfig
from edgerouter.telemetry.otel.families import data_of
from edgerouter.telemetry.otel.session import bounded_session
from edgerouter.telemetry.otel.span import start_span
from edgerouter.telemetry.spans import ExportStatus, Write

SPANS_WAITING: Final = 1000
"""Most spans that wait for the collector."""
_SPANS_AT_ONCE: Final = 200
_SPAN_SECONDS: Final = 2.0
"""Longest time that a span waits for others."""
_CLOSING_SECONDS: Final = 2.0
"""Time for the last export when the router stops."""

log = structlog.get_logger("edgerouter.otel")


class _Queue(SpanProcessor):
    """Spans that wait for the collector."""

    def __init__(self) -> None:
        self.spans: deque[ReadableSpan] = deque()
        self.lost = 0
        self.enough = threading.Event()

    def on_end(self, span: ReadableSpan) -> None:
        if len(self.spans) >= SPANS_WAITING:
            self.lost += 1
            return
        self.spans.append(span)
        if len(self.spans) >= _SPANS_AT_ONCE:
            self.enough.set()


class OtelExporter:
    """Exports spans and metrics of one router; satisfies `Spans`.

    Args:
        config: with an endpoint.
        attributes: of the router, as OpenTelemetry's conventions name them.
    """

    def __init__(self, config: OtelConfig, attributes: Mapping[str, str]) -> None:
        assert config.endpoint is not None, "nothing is exported without it"
        headers = {name: value.get_secret_value() for name, value in config.headers.items()}
        self._config = config
        self._resource = Resource(dict(attributes))
        self._scope = InstrumentationScope("edgerouter", attributes.get("service.version"))
        self._span_exporter = OTLPSpanExporter(
            f"{config.endpoint}/v1/traces",
            headers=headers,
            timeout=config.timeout,
            compression=Compression.Gzip,
            session=bounded_session(),
        )
        self._metric_exporter = OTLPMetricExporter(
            f"{config.endpoint}/v1/metrics",
            headers=headers,
            timeout=config.timeout,
            compression=Compression.Gzip,
            session=bounded_session(),
        )
        self._queue = _Queue()
        provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        provider.add_span_processor(self._queue)
        self._tracer = provider.get_tracer("edgerouter", attributes.get("service.version"))
        self._random = random.Random()  # noqa: S311  (sampling, not cryptography)
        self._started = time.time_ns()
        self._metrics: tuple[list[Family], int] | None = None
        self._sent = self._lost = self._failed = 0
        self._last_error = ""
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="export telemetry", daemon=True)

    @property
    def status(self) -> ExportStatus:
        """Numbers of the export since the start."""
        return ExportStatus(
            endpoint=self._config.endpoint or "",
            spans=self._sent,
            lost_spans=self._lost + self._queue.lost,
            failed_exports=self._failed,
            last_error=self._last_error,
        )

    def sampled(self) -> bool:
        """Return True if the next write becomes a span."""
        return self._random.random() < self._config.sample_ratio

    def wrote(self, write: Write) -> None:
        """Queue the span of a write."""
        try:
            span = start_span(self._tracer, write)
            span.end(write.began + int(write.seconds * 1e9))
        except Exception as error:  # noqa: BLE001  (a fault of the library is not one of the write)
            self._queue.lost += 1
            self._fail(f"no span could be made: {type(error).__name__}")

    @asynccontextmanager
    async def exporting(self, scrape: Callable[[], Iterable[Family]]) -> AsyncIterator[None]:
        """Export until left; what waits then is sent if the collector takes it within two seconds.

        Args:
            scrape: returns all metrics, called on the event loop.
        """
        self._thread.start()
        taking = asyncio.create_task(self._take(scrape), name="take metrics")
        try:
            yield
        finally:
            taking.cancel()
            self._ended = True
            self._queue.enough.set()
            await asyncio.to_thread(self._thread.join, _CLOSING_SECONDS)
            self._span_exporter.shutdown()  # type: ignore[no-untyped-call]  # interrupts the waits between repeats
            self._metric_exporter.shutdown()

    async def _take(self, scrape: Callable[[], Iterable[Family]]) -> None:
        while True:
            await asyncio.sleep(self._config.metrics_interval)
            self._metrics = (list(scrape()), time.time_ns())
            self._queue.enough.set()

    # -- in the thread ----------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            self._queue.enough.wait(_SPAN_SECONDS)
            self._queue.enough.clear()
            ended = self._ended
            try:
                self._export()
            except Exception as error:  # noqa: BLE001  (the library's; the next export may be a better one)
                self._fail(f"{type(error).__name__}")
            if ended:
                return

    def _export(self) -> None:
        spans = self._queue.spans
        while spans:
            batch = [spans.popleft() for _ in range(min(len(spans), _SPANS_AT_ONCE))]
            taken = False
            try:
                taken = self._span_exporter.export(batch) is SpanExportResult.SUCCESS
            finally:
                self._sent += len(batch) if taken else 0
                self._lost += 0 if taken else len(batch)
            if not taken:
                self._fail("the collector did not take spans")
                break
        if self._metrics is not None:
            (families, now), self._metrics = self._metrics, None
            data = data_of(families, self._resource, self._scope, started=self._started, now=now)
            if self._metric_exporter.export(data) is not MetricExportResult.SUCCESS:
                self._fail("the collector did not take metrics")

    def _fail(self, reason: str) -> None:
        self._failed += 1
        self._last_error = reason
        log.warning("telemetry is not exported", reason=reason, next="look at the collector; messages are not concerned")
