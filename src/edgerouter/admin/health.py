"""Health in three questions, each with reasons: is the process alive, can it take messages in, do messages flow out.

A pause by an operator is a reason for none of them; the answers name what is paused.
"""

from __future__ import annotations

from edgerouter.admin.status import RouterStatus, SinkStatus

STUCK_SECONDS = 60.0
"""A sink with messages to deliver that has delivered nothing for this long, and longer than its policies allow, does not flow."""


def not_ready(status: RouterStatus) -> list[str]:
    """Return why the router cannot accept messages now; empty when it can."""
    if not status.sources:
        return ["the router is starting"]
    reasons = [
        f"source {name} is not connected: {source.reason}"
        for name, source in status.sources.items()
        if not source.connected and not source.paused
    ]
    if status.draining:
        reasons.append("the router drains before it ends, and accepts no more messages")
    if status.spool.state != "ok":
        reasons.append(f"the spool is {status.spool.state.replace('_', '-')}: {status.spool.reason}")
    return reasons


def not_flowing(status: RouterStatus) -> list[str]:
    """Return why messages do not flow to every sink, or not from every device; empty when they do, or when there are none."""
    return _silent(status) + [
        f"sink {name} is {sink.state}, {_waiting(sink)} wait: {sink.last_error or 'no delivery for a while'}"
        for name, sink in status.sinks.items()
        if (sink.pending or sink.uncounted) and not _flows(sink, status)
    ]


def _silent(status: RouterStatus) -> list[str]:
    return [
        f"source {name}: {silence.silent} of its topics are silent, such as {', '.join(each.topic for each in silence.topics[:3])}"
        for name, source in status.sources.items()
        if (silence := source.silence) is not None and silence.silent
    ]


def paused(status: RouterStatus) -> list[str]:
    """Return the sinks and sources that an operator paused, which is not a fault."""
    return [f"sink {name}" for name, sink in status.sinks.items() if sink.state == "paused"] + [
        f"source {name}" for name, source in status.sources.items() if source.paused
    ]


def summary(status: RouterStatus) -> str:
    """Return the state of the router in one line, the problems first."""
    pending = sum(sink.pending for sink in status.sinks.values())
    used = status.spool.bytes * 100 // max(1, status.spool.max_bytes)
    reasons = [*not_ready(status), *not_flowing(status), *(f"{part} is paused" for part in paused(status))] or ["messages flow"]
    return f"{'; '.join(reasons)}. {pending} messages wait, {used} % of the spool is used"


def _waiting(sink: SinkStatus) -> str:
    more = f" and up to {sink.uncounted} that are being counted" if sink.uncounted else ""
    return f"{sink.pending} messages{more}"


def _flows(sink: SinkStatus, status: RouterStatus) -> bool:
    if sink.state == "paused":
        return True
    if sink.state in ("retrying", "throttled", "unauthorized", "stopped"):
        return False
    # by the monotonic clock: the wall clock may jump by decades when the device gets its time
    idle = status.uptime_seconds if sink.idle_seconds is None else sink.idle_seconds
    oldest = idle if sink.oldest_pending_seconds is None else sink.oldest_pending_seconds
    return min(idle, oldest) < max(STUCK_SECONDS, sink.patience_seconds)
