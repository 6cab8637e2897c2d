"""Descriptions of the states of a sink, with what an operator can do; the dashboard has the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_PATIENCE_SECONDS: Final = 60.0
"""Least age of a pending message from which a sink is behind, or stuck when it has delivered nothing meanwhile."""
_BUSY_SECONDS: Final = 5.0
"""Time since its last delivery within which a sink without pending messages counts as delivering."""


@dataclass(frozen=True, slots=True)
class Words:
    """Words for one state."""

    short: str
    """For a column."""
    long: str
    cure: str
    style: str
    rank: int
    """Order by urgency: the most urgent first."""


STATES: Final[Mapping[str, Words]] = {
    "unauthorized": Words(
        "refused",
        "Refused by the service",
        "Correct the credentials, the permission or the destination that the last error names. "
        "Secrets are read again, and the sink reopens by itself; nothing is lost.",
        "red",
        0,
    ),
    "retrying": Words(
        "retrying",
        "Cannot deliver, retrying",
        "Its messages wait in the spool and are retried for ever. Look at the last error, the network and the service. "
        "With “no answer within”: a longer timeout or a smaller batch.max_bytes.",
        "red",
        1,
    ),
    "stuck": Words(
        "no delivery",
        "Delivers nothing",
        "Messages wait and no write ends. Look at the service's latency, and at timeout and rate.",
        "yellow",
        2,
    ),
    "behind": Words(
        "behind",
        "Delivers, but is behind",
        "If the oldest gets older, the service takes less than comes in: larger batches, more concurrency, or drain: live_first.",
        "yellow",
        4,
    ),
    "throttled": Words(
        "throttled",
        "Slowed down by the service",
        "Its wait is honoured and fewer writes run at once. If the backlog grows: larger batches, a rate, or more quota.",
        "yellow",
        3,
    ),
    "stopped": Words(
        "stopped",
        "Stopped",
        "The router is stopping, or a reload replaces the sink. If this lasts, look at the router's log.",
        "yellow",
        5,
    ),
    "paused": Words(
        "paused",
        "Paused by an operator",
        "Its messages wait in the spool. Resume it when the service may receive them.",
        "yellow",
        6,
    ),
    "starting": Words("starting", "Starting", "It opens its connection. If this lasts, look at the last error.", "yellow", 7),
    "ok": Words("delivering", "Delivering", "", "green", 8),
    "idle": Words("idle", "Idle, nothing waits", "", "green", 9),
}
"""By state; `behind`, `stuck` and `idle` are `ok` seen over time."""


def state_of(sink: Mapping[str, Any], uptime: float) -> str:
    """Return the state of a sink, a key of `STATES`.

    Args:
        sink: of `/api/status`.
        uptime: of the router, in seconds.
    """
    state: str = sink["state"]
    if state != "ok":
        return state if state in STATES else "stuck"
    idle = uptime if sink["idle_seconds"] is None else sink["idle_seconds"]
    if not sink["pending"] and not sink["uncounted"]:
        return "ok" if sink["idle_seconds"] is not None and idle < _BUSY_SECONDS else "idle"
    oldest = idle if sink["oldest_pending_seconds"] is None else sink["oldest_pending_seconds"]
    patience = max(_PATIENCE_SECONDS, sink["patience_seconds"])
    if oldest < patience:
        return "ok"
    return "behind" if idle < patience else "stuck"
