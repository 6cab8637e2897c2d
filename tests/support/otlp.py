"""A collector of OpenTelemetry: takes OTLP over HTTP, and refuses what the protocol forbids."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Received spans and metrics; a key that requests must carry, and faults."""

    def __init__(self, key: str = "") -> None:
        self.url = ""
        self.spans: list[Span] = []
        self.metrics: dict[str, Metric] = {}
        self.resource: dict[str, str] = {}
        self.requests = 0
        self.status = 200
        """Answer to every request."""
        self.stalls = False
        """Answers nothing."""
        self._key = key

    async def handle(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self._key and request.headers.get("api-key") != self._key:
            return web.Response(status=401)
        if request.method != "POST" or request.content_type != "application/x-protobuf":
            return web.Response(status=415)
        while self.stalls:
            await asyncio.sleep(0.05)
        if self.status != 200:
            return web.Response(status=self.status)
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":  # aiohttp has unpacked it otherwise
            body = gzip.decompress(body)
        try:
            if request.path == "/v1/traces":
                self._take_spans(ExportTraceServiceRequest.FromString(body))
            else:
                self._take_metrics(ExportMetricsServiceRequest.FromString(body))
        except DecodeError:
            return web.Response(status=400)
        return web.Response(content_type="application/x-protobuf")

    def _take_spans(self, found: ExportTraceServiceRequest) -> None:
        for resource in found.resource_spans:
            self.resource = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                assert all(len(span.trace_id) == 16 and len(span.span_id) == 8 for span in scope.spans)
                assert all(0 < span.start_time_unix_nano <= span.end_time_unix_nano for span in scope.spans)
                self.spans += scope.spans

    def _take_metrics(self, found: ExportMetricsServiceRequest) -> None:
        for resource in found.resource_metrics:
            for scope in resource.scope_metrics:
                self.metrics.update({metric.name: metric for metric in scope.metrics})

    async def until(self, condition: Callable[[], object], seconds: float = 20) -> None:
        """Wait until something has come."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def collector(key: str = "") -> AsyncIterator[Collector]:
    """Run a collector on a free port."""
    found = Collector(key)
    app = web.Application()
    app.add_routes([web.post("/v1/traces", found.handle), web.post("/v1/metrics", found.handle)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    found.url = f"http://{host}:{port}"
    try:
        yield found
    finally:
        found.stalls = False
        await runner.cleanup()
