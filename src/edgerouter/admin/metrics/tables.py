"""Metrics with one value for each source, sink or spool: type, name, help, and the place of the value in the status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from edgerouter.admin.status import SinkStatus, SourceStatus

SOURCE: tuple[tuple[type[Metric], str, str, Callable[[SourceStatus], Any]], ...] = (
    (GaugeMetricFamily, "connected", "1 while the source is connected.", lambda s: float(s.connected)),
    (CounterMetricFamily, "messages", "Messages stored, since the start.", lambda s: s.messages),
    (CounterMetricFamily, "deliveries", "Groups of messages stored by one commit each, since the start.", lambda s: s.deliveries),
    (CounterMetricFamily, "filtered", "Messages left out by a step and never stored, since the start.", lambda s: s.filtered),
    (CounterMetricFamily, "repeated", "Messages sent again and recognised, so not stored again.", lambda s: s.repeated),
    (
        GaugeMetricFamily,
        "oldest_unacknowledged_seconds",
        "Age of the oldest message that waits for its acknowledgement.",
        lambda s: s.oldest_unacknowledged_seconds,
    ),
    (
        GaugeMetricFamily,
        "fence_age_seconds",
        "Age of the oldest acknowledgement that the broker may not have read.",
        lambda s: s.fence_age_seconds,
    ),
    (GaugeMetricFamily, "expected_topics", "Topics that `expect` is about.", lambda s: s.silence and s.silence.expected),
    (GaugeMetricFamily, "silent_topics", "Expected topics without a message in time.", lambda s: s.silence and s.silence.silent),
    (
        CounterMetricFamily,
        "untracked_topics",
        "Looks at expected topics beyond the bound.",
        lambda s: s.silence and s.silence.untracked,
    ),
    (CounterMetricFamily, "reopened", "Times the source was opened again after a failure.", lambda s: s.reopened),
    (GaugeMetricFamily, "last_message_timestamp_seconds", "When the last message came in.", lambda s: s.last_message_at),
)
SINK: tuple[tuple[type[Metric], str, str, Callable[[SinkStatus], Any]], ...] = (
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
SPOOL: tuple[tuple[type[Metric], str, str, Callable[[Any], Any]], ...] = (
    (GaugeMetricFamily, "messages", "Messages held.", lambda s: s.messages),
    (GaugeMetricFamily, "bytes", "Bytes used.", lambda s: s.bytes),
    (GaugeMetricFamily, "max_bytes", "Bytes that may be used.", lambda s: s.max_bytes),
    (GaugeMetricFamily, "free_bytes", "Bytes free on the file system.", lambda s: s.free_bytes),
    (GaugeMetricFamily, "last_sequence", "Sequence of the newest message.", lambda s: s.last_sequence),
    (CounterMetricFamily, "written_bytes", "Bytes of messages written, since the start.", lambda s: s.written_bytes),
    (CounterMetricFamily, "commits", "Transactions on disk, since the start.", lambda s: s.commits),
    (GaugeMetricFamily, "quarantined_chunks", "Damaged chunks set aside.", lambda s: s.quarantined_chunks),
    (GaugeMetricFamily, "quarantined_messages", "Messages in damaged chunks.", lambda s: s.quarantined_messages),
    (GaugeMetricFamily, "dead_letters", "Dead letters held.", lambda s: s.dead_letters),
    (GaugeMetricFamily, "dead_letter_bytes", "Bytes of dead letters held.", lambda s: s.dead_letter_bytes),
    (GaugeMetricFamily, "routers", "Living routers that share it.", lambda s: s.shared and len(s.shared.routers)),
    (GaugeMetricFamily, "shards", "Shards of sinks that this router drains.", lambda s: s.shared and s.shared.shards),
    (
        CounterMetricFamily,
        "lost_shards",
        "Shards lost to other routers, since the start.",
        lambda s: s.shared and s.shared.lost_shards,
    ),
    (
        GaugeMetricFamily,
        "lease_seconds",
        "Seconds until other routers may take over.",
        lambda s: s.shared and s.shared.lease_seconds,
    ),
    (
        GaugeMetricFamily,
        "position_age_seconds",
        "Age of the oldest settlement that is not stored yet.",
        lambda s: s.shared and s.shared.unwritten_seconds,
    ),
)
