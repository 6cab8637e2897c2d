"""A router's status as the admin server's parts get it, in order unless a test says otherwise."""

from __future__ import annotations

from typing import Any, Final

from edgerouter.admin.status import RouterStatus, SinkStatus, SourceStatus
from edgerouter.spool.status import SpoolStatus

SPOOL: Final = SpoolStatus(
    type="sqlite", id="id", state="ok", reason="", messages=1, bytes=1, max_bytes=1, free_bytes=1, first_sequence=1,
    last_sequence=1, written_bytes=1, commits=1, quarantined_chunks=0, quarantined_messages=0, dead_letters=0,
    dead_letter_bytes=0, orphans=(),
)  # fmt: skip
SINK: Final = SinkStatus(
    type="file", state="ok", matched=1, delivered=0, dead_lettered=0, dropped=0, pending=1, oldest_pending_seconds=5.0,
    last_error="", last_error_at=None, last_delivery_at=None, idle_seconds=None, patience_seconds=30.0, writes=0, failed_writes=0,
    written_messages=0, written_bytes=0, throttled_seconds=0.0, latency_seconds=0.0,
)  # fmt: skip
SOURCE: Final = SourceStatus(type="mqtt", connected=True, reason="", messages=1, deliveries=1, last_message_at=None, reopened=0)


def router_status(**changes: Any) -> RouterStatus:
    """Return the status of a router that has run for an hour, without sources and sinks."""
    fields: dict[str, Any] = {
        "version": "1", "host": "host", "started_at": 0.0, "uptime_seconds": 3600.0, "configuration": "c",
        "configuration_error": "", "sources": {}, "spool": SPOOL, "sinks": {}, "detached": {}, "drops": [], "certificates": [],
    }  # fmt: skip
    return RouterStatus(**fields | changes)
