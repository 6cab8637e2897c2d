"""Descriptions of the states of a sink, with what an operator can do; the dashboard has the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_STUCK_SECONDS: Final = 60.0


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
        4,
    ),
    "paused": Words(
        "paused",
        "Paused by an operator",
        "Its messages wait in the spool. Resume it when the service may receive them.",
        "yellow",
        5,
    ),
    "starting": Words("starting", "Starting", "It opens its connection. If this lasts, look at the last error.", "yellow", 6),
    "ok": Words("delivering", "Delivering", "", "green", 7),
    "idle": Words("idle", "Idle, nothing waits", "", "green", 8),
}
"""By state; `stuck` and `idle` are `ok` seen over time."""


def state_of(sink: Mapping[str, Any], delivering: bool, uptime: float) -> str:
    """Return the state of a sink, a key of `STATES`.

    Args:
        sink: of `/api/status`.
        delivering: true if it has delivered in the last seconds.
        uptime: of the router, in seconds.
    """
    state: str = sink["state"]
    if state != "ok":
        return state if state in STATES else "stuck"
    if not sink["pending"] and not sink["uncounted"]:
        return "ok" if delivering else "idle"
    idle = uptime if sink["idle_seconds"] is None else sink["idle_seconds"]
    oldest = idle if sink["oldest_pending_seconds"] is None else sink["oldest_pending_seconds"]
    return "ok" if min(idle, oldest) < max(_STUCK_SECONDS, sink["patience_seconds"]) else "stuck"
