"""Counters and state of a sink's deliveries, for status, health and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 3600.0, 86400.0)
"""Seconds."""

State = Literal["starting", "ok", "retrying", "throttled", "unauthorized", "paused", "stopped"]

NEXT_STEPS: Final[Mapping[State, str]] = {
    "retrying": "nothing, the same messages are tried again; if it lasts, look at the service and at the way to it",
    "throttled": "larger batches, a `rate`, or more quota, if it lasts",
    "unauthorized": "correct what the reason names; secrets are read again, and the sink resumes by itself",
}
"""Steps for an operator, by state; the log shows them with the cause."""


@dataclass(slots=True)
class DeliveryStatus:
    """A sink's numbers since the start."""

    state: State = "starting"
    last_error: str = ""
    last_error_at: float | None = None
    """Wall-clock seconds."""
    last_delivery_at: float | None = None
    """Wall-clock seconds."""
    last_delivery: float | None = None
    """Monotonic seconds."""
    writes: int = 0
    failed_writes: int = 0
    written_messages: int = 0
    """Messages handed to `write`, retries included."""
    written_bytes: int = 0
    """As the sink counts them, retries included."""
    throttled_seconds: float = 0.0
    latency: float = 0.0
    """Seconds from the receipt of the oldest message of the last batch to its delivery, by the wall clock."""
    latency_buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    """Messages by the age at delivery of their batch's oldest; the bounds are `LATENCY_BOUNDS`, the last one is infinite."""
    latency_sum: float = 0.0
