"""Metrics of Prometheus as OpenTelemetry's data: the same names, with the unit beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

_UNITS: Final = {"seconds": "s", "bytes": "By"}
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE


def data_of(families: Iterable[Family], resource: Resource, scope: InstrumentationScope, *, started: int, now: int) -> MetricsData:
    """Return the data of one export.

    Args:
        families: of one scrape.
        resource: the router.
        scope: what made the metrics.
        started: nanoseconds since 1970-01-01 UTC, the beginning of all sums.
        now: the same, of the scrape.
    """
    metrics = [metric for family in families if (metric := _metric(family, started, now)) is not None]
    scopes = [ScopeMetrics(scope, metrics, "")]
    return MetricsData([ResourceMetrics(resource, scopes, "")])


def _metric(family: Family, started: int, now: int) -> Metric | None:
    data: Sum | Gauge | Histogram
    if family.type == "counter":
        points = _numbers([sample for sample in family.samples if sample.name.endswith("_total")], started, now)
        data = Sum(points, _CUMULATIVE, is_monotonic=True)
    elif family.type == "histogram":
        data = Histogram(list(_histograms(family.samples, started, now)), _CUMULATIVE)
    else:
        data = Gauge(_numbers(family.samples, started, now))
    if not data.data_points:
        return None
    unit = next((unit for suffix, unit in _UNITS.items() if family.name.endswith(f"_{suffix}")), "")
    return Metric(family.name, family.documentation, unit, data)


def _numbers(samples: Sequence[Sample], started: int, now: int) -> list[NumberDataPoint]:
    return [NumberDataPoint(sample.labels, started, now, float(sample.value)) for sample in samples]


def _histograms(samples: Sequence[Sample], started: int, now: int) -> Iterator[HistogramDataPoint]:
    """Yield a point for each set of labels: buckets of Prometheus hold the ones before them, those of OpenTelemetry do not."""
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, int]]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        if sample.name.endswith("_bucket"):
            buckets.setdefault(labels, []).append((float(sample.labels["le"]), int(sample.value)))
        elif sample.name.endswith("_sum"):
            sums[labels] = float(sample.value)
    for labels, found in buckets.items():
        below = [0, *(count for _, count in found)]
        counts = [after - before for before, after in pairwise(below)]
        bounds = [bound for bound, _ in found[:-1]]
        total = sums.get(labels, 0.0)
        # minimum and maximum are not known; the protocol leaves them out then
        yield HistogramDataPoint(dict(labels), started, now, below[-1], total, counts, bounds, None, None)  # type: ignore[arg-type]
