"""The status of a running router: what `edgerouter status`, `/api/status`, metrics and health are made from."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict

import msgspec

from edgerouter.admin.certificates import CertificateStatus
from edgerouter.pipeline.intake import Intake
from edgerouter.pipeline.runner import Runner
from edgerouter.pipeline.silence import SilenceStatus
from edgerouter.spool.contract import Spool
from edgerouter.spool.status import SpoolStatus
from edgerouter.telemetry.disk_wear import DiskWear
from edgerouter.telemetry.loop_watch import LoopStatus
from edgerouter.telemetry.spans import ExportStatus


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One source."""

    type: str
    connected: bool
    reason: str
    """Reason for being disconnected; empty when connected."""
    messages: int
    """Stored since the start of the process."""
    deliveries: int
    filtered: int = 0
    """Left out by a step of the source, so never stored; since the start of the process."""
    last_message_at: float | None
    """Seconds since 1970-01-01 UTC."""
    reopened: int
    repeated: int = 0
    """Sent again by the other side and recognised, so not stored again; since the start of the process."""
    oldest_unacknowledged_seconds: float | None = None
    """Age of the oldest message that waits for its acknowledgement, so for its commit; 0 when none waits, null where the source
    does not know."""
    fence_age_seconds: float | None = None
    """Age of the oldest acknowledgement that the broker may not have read; 0 without one, null where that is not known."""
    silence: SilenceStatus | None = None
    """Topics that `expect` is about; null without it."""
    step_received: dict[str, int] = {}
    """Messages that each step got; since the start of the process."""
    steps: dict[str, dict[str, int]] = {}
    """Messages that each step left out or could not use, by reason; since the start of the process."""
    paused: bool = False
    """By an operator."""


class LedgerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Ledger of a sink. `matched = delivered + filtered + dead_lettered + dropped + pending`, at every moment."""

    matched: int
    delivered: int
    dead_lettered: int
    dropped: int
    filtered: int = 0
    """Left out by a step, or waited when the sink's `topics` changed and are not wanted any more."""
    pending: int
    uncounted: int = 0
    """Stored messages that are not compared with the sink's topics yet: at most so many more are pending."""
    ledger_error: str = ""
    """Fault in the numbers; empty when they add up."""


class SinkStatus(LedgerStatus, frozen=True, kw_only=True):
    """One sink that runs."""

    type: str
    state: str
    """`starting`, `ok`, `retrying`, `throttled`, `unauthorized`, `paused` (by an operator) or `stopped`."""
    oldest_pending_seconds: float | None
    last_error: str
    last_error_at: float | None
    last_delivery_at: float | None
    idle_seconds: float | None
    """Since the last delivery; null when there was none since the start."""
    patience_seconds: float
    """Time that its `linger`, `timeout` and `rate` allow it to take."""
    writes: int
    failed_writes: int
    written_messages: int
    written_bytes: int
    throttled_seconds: float
    latency_seconds: float
    """From the receipt of the oldest message of the last batch to its delivery."""
    steps: dict[str, dict[str, int]] = {}
    """Messages that each step left out or could not use, by reason; since the start of the process."""
    step_received: dict[str, int] = {}
    """Messages that each step got; since the start of the process."""


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """Messages dropped for one reason."""

    sink: str
    """Empty when they were dropped before routing."""
    topic: str
    """First level of the topic."""
    reason: str
    messages: int


class RouterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole router."""

    version: str
    host: str
    started_at: float
    uptime_seconds: float
    configuration: str
    """The file, or `environment`."""
    configuration_error: str
    """Reason for refusing the last reload; empty when it was not refused."""
    sources: dict[str, SourceStatus]
    spool: SpoolStatus
    sinks: dict[str, SinkStatus]
    detached: dict[str, LedgerStatus]
    """Sinks that are no longer configured and still hold a position."""
    drops: list[Drop]
    certificates: list[CertificateStatus]
    """Files with certificates that the configuration names."""
    event_loop: LoopStatus = msgspec.field(default_factory=LoopStatus)
    disk: DiskWear = msgspec.field(default_factory=DiskWear)
    """Bytes that the process writes: flash wears out by them."""
    draining: bool = False
    """It accepts no more messages, and ends once it has delivered those in its spool."""
    export: ExportStatus = msgspec.field(default_factory=ExportStatus)
    """Export of metrics and traces to a collector."""
    running: bool = True


class StoppedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Status of a spool while no router runs on it."""

    spool: SpoolStatus
    sinks: dict[str, LedgerStatus]
    drops: list[Drop]
    running: bool = False


def source_status(kind: str, intake: Intake) -> SourceStatus:
    """Return the status of a source."""
    steps = intake.steps
    return SourceStatus(
        **msgspec.structs.asdict(intake.status),
        type=kind,
        repeated=intake.repeated,
        oldest_unacknowledged_seconds=intake.oldest_unacknowledged_seconds,
        fence_age_seconds=intake.fence_age_seconds,
        silence=None if intake.silence is None else intake.silence.status,
        steps={} if steps is None else steps.counted,
        step_received={} if steps is None else steps.received,
    )


def sink_status(runner: Runner, fault: str) -> SinkStatus:
    """Return the status of a sink."""
    reader, status, steps = runner.reader, runner.status, runner.steps
    oldest = reader.oldest_pending_at
    return SinkStatus(
        **asdict(reader.ledger),
        type=runner.configured.type,
        state="paused" if runner.paused else status.state,
        ledger_error=fault,
        oldest_pending_seconds=None if oldest is None else max(0.0, time.time() - oldest / 1e9),
        last_error=status.last_error,
        last_error_at=status.last_error_at,
        last_delivery_at=status.last_delivery_at,
        idle_seconds=None if status.last_delivery is None else time.monotonic() - status.last_delivery,
        patience_seconds=runner.patience,
        writes=status.writes,
        failed_writes=status.failed_writes,
        written_messages=status.written_messages,
        written_bytes=status.written_bytes,
        throttled_seconds=status.throttled_seconds,
        latency_seconds=status.latency,
        steps={} if steps is None else steps.counted,
        step_received={} if steps is None else steps.received,
    )


def ledgers(spool: Spool, names: Iterable[str]) -> dict[str, LedgerStatus]:
    """Return the ledgers of these sinks, as far as the spool has them."""
    held, faults = spool.ledgers, spool.faults
    return {name: LedgerStatus(**asdict(held[name]), ledger_error=faults.get(name, "")) for name in names if name in held}


def stopped_status(spool: Spool) -> StoppedStatus:
    """Return the status of a spool while no router runs on it."""
    return StoppedStatus(spool=spool.status, sinks=ledgers(spool, sorted(spool.ledgers)), drops=drops(spool))


def drops(spool: Spool) -> list[Drop]:
    """Return the dropped messages, by sink, topic and reason."""
    return [
        Drop(sink=sink, topic=topic, reason=reason, messages=messages)
        for (sink, topic, reason), messages in sorted(spool.drops.items())
    ]
