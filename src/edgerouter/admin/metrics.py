"""Prometheus metrics, made from the status at the moment they are asked for: nothing is counted twice, nothing per message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from edgerouter.admin.health import not_flowing, not_ready
from edgerouter.admin.status import RouterStatus, SinkStatus, SourceStatus
from edgerouter.pipeline.status import LATENCY_BOUNDS, DeliveryStatus, State
from edgerouter.spool.status import SpoolState
from edgerouter.telemetry.loop_watch import LoopStatus

_SOURCE: tuple[tuple[type[Metric], str, str, Callable[[SourceStatus], Any]], ...] = (
    (GaugeMetricFamily, "connected", "1 while the source is connected.", lambda s: float(s.connected)),
    (CounterMetricFamily, "messages", "Messages stored, since the start.", lambda s: s.messages),
    (CounterMetricFamily, "deliveries", "Groups of messages stored by one commit each, since the start.", lambda s: s.deliveries),
    (CounterMetricFamily, "filtered", "Messages left out by a step and never stored, since the start.", lambda s: s.filtered),
    (CounterMetricFamily, "reopened", "Times the source was opened again after a failure.", lambda s: s.reopened),
    (GaugeMetricFamily, "last_message_timestamp_seconds", "When the last message came in.", lambda s: s.last_message_at),
)
_SINK: tuple[tuple[type[Metric], str, str, Callable[[SinkStatus], Any]], ...] = (
    (CounterMetricFamily, "matched", "Messages that this sink wants, over restarts.", lambda s: s.matched),
    (CounterMetricFamily, "delivered", "Messages that the service took, over restarts.", lambda s: s.delivered),
    (GaugeMetricFamily, "dead_lettered", "Messages that are in the dead letters now.", lambda s: s.dead_lettered),
    (CounterMetricFamily, "dropped", "Messages dropped by policy or damage, over restarts.", lambda s: s.dropped),
    (CounterMetricFamily, "filtered", "Messages left out by a step, or no longer wanted, over restarts.", lambda s: s.filtered),
    (GaugeMetricFamily, "pending", "Messages still to settle.", lambda s: s.pending),
    (GaugeMetricFamily, "uncounted", "Stored messages not compared with the sink's topics yet.", lambda s: s.uncounted),
    (GaugeMetricFamily, "ledger_error", "1 while the sink's numbers do not add up.", lambda s: float(bool(s.ledger_error))),
    (GaugeMetricFamily, "oldest_pending_seconds", "Age of the oldest pending message.", lambda s: s.oldest_pending_seconds),
    (CounterMetricFamily, "writes", "Calls of the sink, since the start.", lambda s: s.writes),
    (CounterMetricFamily, "failed_writes", "Calls of the sink that failed as a whole or in part.", lambda s: s.failed_writes),
    (CounterMetricFamily, "written_messages", "Messages handed to the sink, retries included.", lambda s: s.written_messages),
    (CounterMetricFamily, "written_bytes", "Bytes handed to the sink, retries included.", lambda s: s.written_bytes),
    (CounterMetricFamily, "throttled_seconds", "Time waited because the service asked for less.", lambda s: s.throttled_seconds),
    (GaugeMetricFamily, "last_delivery_timestamp_seconds", "When the service last took a message.", lambda s: s.last_delivery_at),
)
_SPOOL: tuple[tuple[type[Metric], str, str, Callable[[Any], Any]], ...] = (
    (GaugeMetricFamily, "messages", "Messages held.", lambda s: s.messages),
    (GaugeMetricFamily, "bytes", "Bytes used.", lambda s: s.bytes),
    (GaugeMetricFamily, "max_bytes", "Bytes that may be used.", lambda s: s.max_bytes),
    (GaugeMetricFamily, "free_bytes", "Bytes free on the file system.", lambda s: s.free_bytes),
    (GaugeMetricFamily, "last_sequence", "Sequence of the newest message.", lambda s: s.last_sequence),
    (CounterMetricFamily, "written_bytes", "Bytes of messages written, since the start.", lambda s: s.written_bytes),
    (CounterMetricFamily, "commits", "Commits, since the start.", lambda s: s.commits),
    (GaugeMetricFamily, "quarantined_chunks", "Damaged chunks set aside.", lambda s: s.quarantined_chunks),
    (GaugeMetricFamily, "quarantined_messages", "Messages in damaged chunks.", lambda s: s.quarantined_messages),
    (GaugeMetricFamily, "dead_letters", "Dead letters held.", lambda s: s.dead_letters),
    (GaugeMetricFamily, "dead_letter_bytes", "Bytes of dead letters held.", lambda s: s.dead_letter_bytes),
)


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

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing in advance: the sinks are known when they run."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The status as metrics."""
        status = self._status()
        yield GaugeMetricFamily("edgerouter_ready", "1 while messages can be taken in.", value=float(not not_ready(status)))
        yield GaugeMetricFamily("edgerouter_flowing", "1 while messages flow out everywhere.", value=float(not not_flowing(status)))
        yield _info(status)
        yield from _families("source", _SOURCE, status.sources)
        yield from _families("sink", _SINK, status.sinks)
        yield from _families("spool", _SPOOL, {status.spool.type: status.spool})
        yield _states("sink", get_args(State), {name: sink.state for name, sink in status.sinks.items()})
        yield _states("spool", get_args(SpoolState), {status.spool.type: status.spool.state})
        drops = CounterMetricFamily("edgerouter_dropped", "Messages dropped, by reason.", labels=("sink", "topic", "reason"))
        for drop in status.drops:
            drops.add_metric((drop.sink, drop.topic, drop.reason), drop.messages)
        yield drops
        yield _steps(status.sinks)
        yield _certificates(status)
        yield from _event_loop(status.event_loop)
        yield self._latency()

    def _latency(self) -> Metric:
        family = HistogramMetricFamily(
            "edgerouter_sink_latency_seconds", "Age of messages at their delivery, by the oldest of each batch.", labels=("sink",)
        )
        for name, delivery in self._deliveries():
            total = 0
            buckets = []
            for bound, count in zip((*map(str, LATENCY_BOUNDS), "+Inf"), delivery.latency_buckets, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric((name,), buckets, delivery.latency_sum)
        return family


def _steps(sinks: Mapping[str, SinkStatus]) -> Metric:
    text = "Messages that a step left out or could not use, by reason, since the start."
    family = CounterMetricFamily("edgerouter_sink_step_messages", text, labels=("sink", "step", "reason"))
    for name, sink in sinks.items():
        for step, reasons in sink.steps.items():
            for reason, messages in reasons.items():
                family.add_metric((name, step, reason), messages)
    return family


def _info(status: RouterStatus) -> Metric:
    family = GaugeMetricFamily("edgerouter_info", "The router itself.", labels=("version", "host", "spool"))
    family.add_metric((status.version, status.host, status.spool.id), 1.0)
    return family


def _event_loop(loop: LoopStatus) -> Iterator[Metric]:
    name = "edgerouter_event_loop"
    yield CounterMetricFamily(f"{name}_pauses", "Times the event loop was held for 0.25 s or longer.", value=loop.pauses)
    yield GaugeMetricFamily(f"{name}_longest_pause_seconds", "Longest pause since the start.", value=loop.longest_pause_seconds)
    held = CounterMetricFamily(f"{name}_held_seconds", "Time of pauses, by what held the event loop.", labels=("holder",))
    for holder, seconds in loop.held_seconds.items():
        held.add_metric((holder,), seconds)
    yield held


def _certificates(status: RouterStatus) -> Metric:
    family = GaugeMetricFamily(
        "edgerouter_certificate_days_to_expiry",
        "Days until the certificates of a file expire; negative once they have.",
        labels=("owner", "field", "file"),
    )
    for certificate in status.certificates:
        if certificate.days_left is not None:
            family.add_metric((certificate.owner, certificate.field, certificate.file), certificate.days_left)
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
