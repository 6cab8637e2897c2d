"""Kinds of events: when each happens, the fields that it fills, and the next step for an operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from edgerouter.telemetry.events import Kind, Level


class EventKind(NamedTuple):
    """Description of one kind."""

    happens: str
    levels: tuple[Level, ...]
    fields: tuple[str, ...]
    """Fields that are filled beside `id`, `at`, `kind`, `level` and `text`."""
    next_step: str
    states: tuple[str, ...] = ()
    """Values of the field `state`, if a state is recorded."""


EVENT_KINDS: Final[Mapping[Kind, EventKind]] = {
    "started": EventKind(
        "the router runs: its spool is open, sources and sinks are being opened",
        ("info",),
        (),
        "nothing; the log says whether the run before it was stopped or killed",
    ),
    "stopping": EventKind(
        "the router ends, after SIGTERM, Ctrl-C or `edgerouter drain`", ("info",), (), "nothing; the spool keeps what is pending"
    ),
    "sink": EventKind(
        "a sink changes its state, or failed and delivers again between two looks",
        ("info", "warning", "error"),
        ("subject", "state"),
        "by the new state: [states, and what to do](../how-to/operate.md#states-and-what-to-do)",
        ("starting", "ok", "retrying", "throttled", "unauthorized", "paused", "stopped"),
    ),
    "source": EventKind(
        "a source connects, is reopened, loses its connection, or a topic of `expect` falls silent or is heard again",
        ("info", "warning"),
        ("subject", "state"),
        "`disconnected`: correct what the text names; the router retries for ever. "
        "`silent`: look at the device; see [silent devices](../how-to/operate.md#silent-devices)",
        ("connected", "disconnected", "silent"),
    ),
    "spool": EventKind(
        "the spool changes its state",
        ("info", "error"),
        ("state",),
        "`full`: [the full spool](../how-to/operate.md#the-full-spool). "
        "`read_only`, `failing`: check the disk; the router resumes by itself",
        ("ok", "full", "read_only", "failing"),
    ),
    "dropped": EventKind(
        "messages were dropped; the text is the reason",
        ("error",),
        ("subject", "messages"),
        "by the reason: [dropped messages](../how-to/runbook.md#edgeroutermessagesdropped)",
    ),
    "dead_lettered": EventKind(
        "a service refused messages for ever, and they are kept as dead letters",
        ("error",),
        ("subject", "messages"),
        "`edgerouter dead-letters list --sink NAME`, correct the cause, then replay: "
        "[dead letters](../how-to/operate.md#dead-letters)",
    ),
    "reloaded": EventKind(
        "a changed configuration is in effect; the text names the sources and sinks that changed",
        ("info",),
        (),
        "nothing; `edgerouter config` shows it",
    ),
    "refused": EventKind(
        "a changed configuration has mistakes, and the present one stays in effect",
        ("error",),
        (),
        "`edgerouter check -c FILE` names each mistake with its line",
    ),
    "change": EventKind(
        "a caller of the admin API or a command changed something, or was refused",
        ("info",),
        ("by",),
        "nothing, if you know the caller; else replace its token",
    ),
    "tap": EventKind(
        "a caller starts or ends looking at messages",
        ("info",),
        ("subject", "by", "state"),
        "nothing, if you know the caller; `admin.tap.enabled: false` forbids it",
        ("open", "closed"),
    ),
}
