"""`edgerouter status`: state and numbers of a running router, or of a spool without one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from edgerouter.admin.certificates import CertificateStatus
from edgerouter.admin.client import Client, NoRouter
from edgerouter.cli.output import all_shown, columns, console, counted, say, shown
from edgerouter.cli.spool import stopped_status
from edgerouter.cli.states import STATES, state_of
from edgerouter.config.model import SpoolSection


def show(spool: SpoolSection, *, ready: bool, as_json: bool) -> int:
    """Print the status once; with `ready`, the exit code says whether messages can be taken in.

    Raises:
        EdgerouterError: no router runs, and its spool cannot be opened.
    """
    client = Client(spool.path)
    try:
        status = client.get("/api/status")
        reasons = client.get("/readyz")["reasons"] if ready else []
    except NoRouter:
        # a health check opens no spool: a router that is about to start would find it in use, and end
        if ready or spool.type == "memory":
            raise
        status, reasons = stopped_status(spool), []
    if as_json:
        typer.echo(json.dumps(status, indent=2))
    else:
        console().print(render(status) if status["running"] else _stopped(status, spool))
    for reason in reasons:
        say(reason, err=True)
    return 1 if reasons else 0


def render(status: dict[str, Any]) -> Group:
    """The status of `/api/status` for people."""
    refused = shown(status["configuration_error"])  # one line for each problem
    status = all_shown(status)
    head = Text(
        f"edgerouter {status['version']} on {status['host']}, up {duration(status['uptime_seconds'])}, {status['configuration']}"
    )
    if refused:
        head.append(f"\nthe last change of the configuration was refused:\n{refused}", "red")
    parts: list[Any] = [head, _spool(status), _sources(status), _sinks(status), *_shared(status), *notices(status)]
    return Group(*parts)


def notices(status: Mapping[str, Any]) -> Iterator[Text]:
    """Lines about what needs attention: losses, silent topics, sinks that are gone, certificates, a blocked event loop."""
    yield from _drops(status)
    yield from _silent(status)
    for name, sink in status["detached"].items():
        kept = counted(sink["pending"], "message")
        yield Text(f"{name} is not configured any more: position kept, {kept} kept (edgerouter forget)", "yellow")
    yield from _certificates(status)
    yield from _event_loop(status)


def _stopped(status: dict[str, Any], spool: SpoolSection) -> Group:
    """Render what waits for the next start."""
    status = all_shown(status)
    table = columns("sink", "matched", "delivered", "pending", "dead", "dropped")
    for name, sink in status["sinks"].items():
        table.add_row(name, *(str(sink[field]) for field in ("matched", "delivered", "pending", "dead_lettered", "dropped")))
    ledgers = [line for name, sink in status["sinks"].items() for line in _ledger(name, sink)]
    return Group(Text(f"no router runs on {spool.path}; it holds", "yellow"), _spool(status), table, *ledgers, *_drops(status))


def _shared(status: dict[str, Any]) -> Iterator[Text | Table]:
    """Render what all routers have that share the spool."""
    shared = status["spool"].get("shared")
    if not shared:
        return
    routers = ", ".join(f"{name} ({counted(shards, 'shard')})" for name, shards in shared["routers"].items())
    yield Text(f"spool shared, this is {shared['router']}; running: {routers or 'no router'}; all routers together:")
    table = columns("sink", "matched", "delivered", "pending", "dead", "dropped")
    for name, sink in shared["ledgers"].items():
        table.add_row(name, *(str(sink[field]) for field in ("matched", "delivered", "pending", "dead_lettered", "dropped")))
    yield table


def _ledger(name: str, sink: dict[str, Any]) -> Iterator[Text]:
    if sink["uncounted"]:
        yield Text(f"{name}: {counted(sink['uncounted'], 'stored message')} still to be compared with its topics", "yellow")
    if sink["ledger_error"]:
        yield Text(f"{name}: {sink['ledger_error']}", "red")


def _spool(status: dict[str, Any]) -> Text:
    spool = status["spool"]
    line = Text(
        f"spool {spool['state']}  {counted(spool['messages'], 'message')}, {size(spool['bytes'])} of {size(spool['max_bytes'])},"
        f" {counted(spool['dead_letters'], 'dead letter')}",
        "" if spool["state"] == "ok" else "red",
    )
    if spool["reason"]:
        line.append(f"  {spool['reason']}")
    return line


def _drops(status: Mapping[str, Any]) -> list[Text]:
    return [
        Text(f"dropped {drop['messages']} at {drop['sink'] or 'intake'}, topic {drop['topic']}: {drop['reason']}", "yellow")
        for drop in status["drops"]
    ]


def _silent(status: Mapping[str, Any]) -> Iterator[Text]:
    for name, source in status["sources"].items():
        silence = source.get("silence") or {"topics": (), "silent": 0}
        for each in silence["topics"]:
            quiet, allowed = duration(each["seconds"]), duration(each["expected_seconds"])
            yield Text(f"{name}: {each['topic']} is silent for {quiet}, expected every {allowed}", "yellow")
        if silence["silent"] > len(silence["topics"]):
            yield Text(f"{name}: {silence['silent'] - len(silence['topics'])} more expected topics are silent", "yellow")


def _certificates(status: Mapping[str, Any]) -> Iterator[Text]:
    for each in status["certificates"]:
        certificate = msgspec.convert(each, CertificateStatus)
        condition, text = certificate.condition
        if condition != "good":
            yield Text(f"{certificate.owner}.{certificate.field}: {text}", "yellow" if condition == "expires soon" else "red")


def _event_loop(status: Mapping[str, Any]) -> Iterator[Text]:
    loop = status["event_loop"]
    if loop["pauses"]:
        where = f" at {loop['last_place']}" if loop["last_place"] else ""
        yield Text(
            f"{loop['last_holder']} held the event loop for {duration(loop['last_pause_seconds'])}{where},"
            f" {duration(max(0.0, time.time() - loop['last_pause_at']))} ago; every sink and source waited"
            f" ({counted(loop['pauses'], 'pause')}, {duration(loop['paused_seconds'])} in all)",
            "red",
        )


def _sources(status: dict[str, Any]) -> Group:
    table = columns("source", "type", "state", "messages", "last")
    reasons = []
    for name, source in status["sources"].items():
        paused, connected = source["paused"], source["connected"]
        state = Text("paused", "yellow") if paused else Text("connected", "green") if connected else Text("not connected", "red")
        table.add_row(name, source["type"], state, str(source["messages"]), _ago(source["last_message_at"]))
        if not connected:
            reasons.append(Text(f"{name}: {source['reason']}", "yellow" if paused else "red"))
    return Group(table, *reasons)


def _sinks(status: dict[str, Any]) -> Group:
    """A table, and below it what each failing sink last said, with what to do: an error fits no column."""
    table = columns("sink", "type", "state", "delivered", "last", "pending", "oldest", "dead", "dropped", "latency")
    remarks: list[Text] = []
    for name, sink in status["sinks"].items():
        oldest = sink["oldest_pending_seconds"]
        words = STATES[state_of(sink, status["uptime_seconds"])]
        table.add_row(
            name,
            sink["type"],
            Text(words.short, words.style),
            str(sink["delivered"]),
            _ago(sink["last_delivery_at"]),
            str(sink["pending"]),
            "" if oldest is None else duration(oldest),
            str(sink["dead_lettered"]),
            str(sink["dropped"]),
            duration(sink["latency_seconds"]) if sink["last_delivery_at"] else "",
        )
        remarks += _ledger(name, sink)
        if words.cure:
            remarks.append(Text(f"{name}: {sink['last_error'] or words.long}", words.style))
            remarks.append(Text(f"  {words.cure}"))
    return Group(table, *remarks)


def _ago(moment: float | None) -> str:
    return "never" if moment is None else f"{duration(max(0.0, time.time() - moment))} ago"


def size(count: float) -> str:
    """Bytes for people: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """A time for people: `12 ms`, `3.4 s`, `5 min`, `2 h`, `3 d`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172800 else f"{seconds / 86400:.0f} d"
