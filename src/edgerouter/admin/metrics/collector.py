"""Collects the metrics from a router's status, and writes them in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, get_args

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from edgerouter.admin.health import not_flowing, not_ready
from edgerouter.admin.metrics.exposition import write
from edgerouter.admin.metrics.tables import SINK, SOURCE, SPOOL
from edgerouter.admin.status import RouterStatus, SinkStatus, SourceStatus
from edgerouter.pipeline.status import LATENCY_BOUNDS, DeliveryStatus, State
from edgerouter.spool.status import SpoolState, SpoolStatus
from edgerouter.telemetry.disk_wear import DiskWear
from edgerouter.telemetry.loop_watch import LoopStatus
from edgerouter.telemetry.spans import ExportStatus


class Metrics(Collector):
    """Collects from a running router.

    Args:
        status: the router's status, now.
        deliveries: sink name -> its delivery numbers, for the latency histograms.
    """

    def __init__(self, status: Callable[[], RouterStatus], deliveries: Callable[[], Iterable[tuple[str, DeliveryStatus]]]) -> None:
        self._status = status
        self._deliveries = deliveries
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(self)

    @staticmethod
    def text_of(families: Iterable[Metric]) -> bytes:
        """Families in Prometheus' text format."""
        return write(families)

    def families(self) -> list[Metric]:
        """All metrics: nothing in them changes any more, so another thread may write them."""
        return list(self._registry.collect())

    def describe(self) -> list[Metric]:
        """Nothing in advance: the sinks are known when they run."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The status as metrics."""
        status = self._status()
        yield GaugeMetricFamily("edgerouter_ready", "1 while messages can be taken in.", value=float(not not_ready(status)))
        yield GaugeMetricFamily("edgerouter_flowing", "1 while messages flow out everywhere.", value=float(not not_flowing(status)))
        yield _info(status)
        yield from _families("source", SOURCE, status.sources)
        yield from _families("sink", SINK, status.sinks)
        yield from _families("spool", SPOOL, {status.spool.type: status.spool})
        yield _commits(status.spool)
        yield _states("sink", get_args(State), {name: sink.state for name, sink in status.sinks.items()})
        yield _states("spool", get_args(SpoolState), {status.spool.type: status.spool.state})
        drops = CounterMetricFamily("edgerouter_dropped", "Messages dropped, by reason.", labels=("sink", "topic", "reason"))
        for drop in status.drops:
            drops.add_metric((drop.sink, drop.topic, drop.reason), drop.messages)
        yield drops
        yield from _steps("source", status.sources)
        yield from _steps("sink", status.sinks)
        yield _certificates(status)
        yield from _disk(status.disk)
        yield from _export(status.export)
        yield from _event_loop(status.event_loop)
        yield self._latency()

    def _latency(self) -> Metric:
        family = HistogramMetricFamily(
            "edgerouter_sink_latency_seconds", "Age of messages at their delivery, by the oldest of each batch.", labels=("sink",)
        )
        for name, delivery in self._deliveries():
            family.add_metric((name,), _buckets(LATENCY_BOUNDS, delivery.latency_buckets), delivery.latency_sum)
        return family


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return the buckets of a histogram as Prometheus wants them: each holds the ones before it."""
    return list(zip((*map(str, bounds), "+Inf"), accumulate(counts), strict=True))


def _commits(spool: SpoolStatus) -> Metric:
    family = HistogramMetricFamily("edgerouter_spool_commit_seconds", "Duration of commits, since the start.", labels=("spool",))
    if spool.commits:
        family.add_metric((spool.type,), _buckets(spool.commit_times.bounds, spool.commit_times.counts), spool.commit_times.total)
    return family


def _steps(kind: str, parts: Mapping[str, SourceStatus] | Mapping[str, SinkStatus]) -> Iterator[Metric]:
    text = "Messages that a step got, since the start."
    received = CounterMetricFamily(f"edgerouter_{kind}_step_received", text, labels=(kind, "step"))
    text = "Messages that a step left out or could not use, by reason, since the start."
    left = CounterMetricFamily(f"edgerouter_{kind}_step_messages", text, labels=(kind, "step", "reason"))
    for name, part in parts.items():
        for step, messages in part.step_received.items():
            received.add_metric((name, step), messages)
        for step, reasons in part.steps.items():
            for reason, messages in reasons.items():
                left.add_metric((name, step, reason), messages)
    yield received
    yield left


def _disk(disk: DiskWear) -> Iterator[Metric]:
    written = CounterMetricFamily(
        "edgerouter_disk_written_bytes", "Bytes that the process had the kernel write to disks, since the start."
    )
    forecast = GaugeMetricFamily(
        "edgerouter_disk_forecast_bytes", "Bytes that the process writes in a year at the rate of the last hour."
    )
    if disk.written_bytes is not None:
        written.add_metric((), disk.written_bytes)
    if disk.bytes_a_year is not None:
        forecast.add_metric((), disk.bytes_a_year)
    yield written
    yield forecast


def _export(export: ExportStatus) -> Iterator[Metric]:
    name = "edgerouter_export"
    yield CounterMetricFamily(f"{name}_spans", "Spans that the collector took, since the start.", value=export.spans)
    yield CounterMetricFamily(
        f"{name}_lost_spans", "Spans lost because the collector did not answer in time.", value=export.lost_spans
    )
    yield CounterMetricFamily(f"{name}_failures", "Exports of spans or metrics that failed.", value=export.failed_exports)


def _info(status: RouterStatus) -> Metric:
    family = GaugeMetricFamily("edgerouter_info", "The router itself.", labels=("version", "host", "spool"))
    family.add_metric((status.version, status.host, status.spool.id), 1.0)
    return family


def _event_loop(loop: LoopStatus) -> Iterator[Metric]:
    name = "edgerouter_event_loop"
    yield CounterMetricFamily(f"{name}_pauses", "Times the event loop was held for 0.25 s or longer.", value=loop.pauses)
    yield GaugeMetricFamily(f"{name}_longest_pause_seconds", "Longest pause since the start.", value=loop.longest_pause_seconds)
    lag = HistogramMetricFamily(f"{name}_lag_seconds", "Time that a callback waits for the busy event loop, sampled.")
    lag.add_metric((), _buckets(loop.lags.bounds, loop.lags.counts), loop.lags.total)
    yield lag
    held = CounterMetricFamily(f"{name}_held_seconds", "Time of pauses, by what held the event loop.", labels=("holder",))
    for holder, seconds in loop.held_seconds.items():
        held.add_metric((holder,), seconds)
    yield held


def _certificates(status: RouterStatus) -> Metric:
    family = GaugeMetricFamily(
        "edgerouter_certificate_expiry_timestamp_seconds",
        "When the first of the certificates in a file expires, of authorities the last.",
        labels=("owner", "field", "file"),
    )
    for certificate in status.certificates:
        if certificate.expires_at is not None:
            family.add_metric((certificate.owner, certificate.field, certificate.file), certificate.expires_at)
    return family


def _families(kind: str, table: Iterable[tuple[Any, str, str, Callable[[Any], Any]]], by_name: dict[str, Any]) -> Iterator[Metric]:
    for family_type, name, help_text, value_of in table:
        family = family_type(f"edgerouter_{kind}_{name}", help_text, labels=(kind,))
        for label, status in by_name.items():
            value = value_of(status)
            if value is not None:
                family.add_metric((label,), value)
        yield family


def _states(kind: str, states: tuple[str, ...], by_name: dict[str, str]) -> Metric:
    family = GaugeMetricFamily(f"edgerouter_{kind}_state", "1 for the state it is in.", labels=(kind, "state"))
    for name, present in by_name.items():
        for state in states:
            family.add_metric((name, state), float(state == present))
    return family
