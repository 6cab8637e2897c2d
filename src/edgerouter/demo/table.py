"""The demo's numbers, as a table for a terminal and as a line for anything else."""

from __future__ import annotations

from rich.table import Table

from edgerouter.admin.status import RouterStatus, SinkStatus
from edgerouter.visible import visible


def table(status: RouterStatus, sent: int, rate: float, elapsed: float) -> Table:
    """Build a table of messages by stage: sent by the devices, received, spooled, and delivered by each sink."""
    result = Table(title=f"edgerouter demo, {elapsed:.0f} s, {rate:,.0f} messages/s", title_justify="left", min_width=72)
    result.add_column("where")
    for heading in ("messages", "pending", "latency"):
        result.add_column(heading, justify="right")
    result.add_column("state")
    result.add_row("devices, sent", f"{sent:,}", "", "", "")
    for name, source in status.sources.items():
        state = "connected" if source.connected else visible(source.reason)
        result.add_row(f"in: {name} ({source.type})", f"{source.messages:,}", "", "", state)
    spool = status.spool
    result.add_row(f"spool ({spool.type})", f"{spool.last_sequence:,}", "", "", f"{spool.state}, {spool.bytes / 1024:,.0f} KiB")
    for name, sink in status.sinks.items():
        numbers = f"{sink.delivered:,}", f"{sink.pending:,}", _latency(sink)
        result.add_row(f"out: {name} ({sink.type})", *numbers, visible(sink.last_error) or sink.state)
    return result


def line(status: RouterStatus, sent: int, rate: float, elapsed: float) -> str:
    """The same in one line."""
    taken = sum(source.messages for source in status.sources.values())
    sinks = [f"{name} {sink.delivered} ({sink.pending} pending, {_latency(sink) or 'idle'})" for name, sink in status.sinks.items()]
    stages = [f"sent {sent}", f"in {taken}", f"spooled {status.spool.last_sequence}", f"out: {', '.join(sinks)}"]
    troubles = [f"{name}: {source.reason}" for name, source in status.sources.items() if not source.connected]
    troubles += [f"{name}: {sink.last_error}" for name, sink in status.sinks.items() if sink.state != "ok" and sink.last_error]
    return "  ".join([f"{elapsed:4.0f} s", *stages, f"{rate:.0f} messages/s", *troubles])


def _latency(sink: SinkStatus) -> str:
    """Receipt to delivery, of the oldest message of the last batch."""
    return f"{sink.latency_seconds * 1000:.1f} ms" if sink.delivered else ""
