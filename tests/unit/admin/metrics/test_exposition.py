"""The text of the metrics is the one of Prometheus' own client library."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from edgerouter.admin.metrics.exposition import write

HOSTILE = 'a"b\\c\nd{e}=\u202e,\u00e9 # HELP'


class Families(Collector):
    """A collector of given families."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def parsed(text: bytes) -> list[tuple[object, ...]]:
    """Return name, type, help and samples of every family, as a scraper reads them."""
    families = text_string_to_metric_families(text.decode())
    return [
        (each.name, each.type, each.documentation, sorted((s.name, sorted(s.labels.items()), str(s.value)) for s in each.samples))
        for each in families
    ]


def test_a_scraper_reads_the_same_as_from_the_client_library() -> None:
    registry = CollectorRegistry(auto_describe=False)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    counter = CounterMetricFamily("messages", f"Help: {HOSTILE}", labels=("topic", "reason"))
    counter.add_metric((HOSTILE, ""), 12345678901234)
    counter.add_metric(("a", "b"), 0.1)
    gauge = GaugeMetricFamily("age_seconds", "Age.", labels=("source",))
    for name, value in (("x", float("inf")), ("y", float("-inf")), ("z", float("nan")), ("w", 1e-7)):
        gauge.add_metric((name,), value)
    histogram = HistogramMetricFamily("lag_seconds", "Lag.", labels=("sink",))
    histogram.add_metric(("s",), [("0.1", 1.0), ("+Inf", 2.0)], 3.5)
    families = [*registry.collect(), counter, gauge, histogram, GaugeMetricFamily("alone", "No label.", value=1.0)]

    text = write(families)

    reference = CollectorRegistry(auto_describe=False)
    reference.register(Families(families))
    assert parsed(text) == parsed(generate_latest(reference))
    assert write(families) == text, "kept labels change nothing"


def test_a_label_that_is_not_text_spoils_no_scrape() -> None:
    """A file may have any bytes in its name, and a certificate's file is a label."""
    gauge = GaugeMetricFamily("expiry", "When.", labels=("file",))
    gauge.add_metric(("/etc/\udcff.pem",), 1.0)

    assert b'expiry{file="/etc/?.pem"} 1.0' in write([gauge])
