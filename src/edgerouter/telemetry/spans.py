"""The seam between deliveries and traces: a sampled write of a batch becomes a span. Nothing here needs OpenTelemetry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from edgerouter.message import Message


class Write(NamedTuple):
    """One call of a sink's `write`."""

    sink: str
    """Name of the sink."""
    type: str
    """Type of the sink, as in the configuration."""
    messages: Sequence[Message]
    size: int
    """Bytes, as the sink counts them."""
    began: int
    """Nanoseconds since 1970-01-01 UTC."""
    seconds: float
    error: str
    """Name of the error's class; empty when the whole batch was taken."""


class Spans(Protocol):
    """Gets the sampled writes."""

    def sampled(self) -> bool:
        """Return True if the next write becomes a span."""

    def wrote(self, write: Write) -> None:
        """Make a span of a write."""


class ExportStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Export to a collector, since the start."""

    endpoint: str = ""
    """Empty when nothing is exported."""
    spans: int = 0
    """Spans that the collector took."""
    lost_spans: int = 0
    """Spans lost because the collector did not take them in time."""
    failed_exports: int = 0
    """Requests of spans or metrics that failed."""
    last_error: str = ""
