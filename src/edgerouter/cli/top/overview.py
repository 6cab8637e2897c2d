"""Lines of the first page: the router, its sources, its sinks, and what needs attention."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.text import Text

from edgerouter.cli.output import counted
from edgerouter.cli.states import STATES
from edgerouter.cli.status import duration, notices, size
from edgerouter.cli.top.columns import Column, cropped, table
from edgerouter.cli.top.view import ORDERS, View

_BAR: Final = 20
_WIDE: Final = 76
"""Columns from which on there is room for the bar of the spool."""
_LEAST_SINKS: Final = 4
"""Lines for the table of sinks, its title included, on a low screen."""
_SPOOL_STYLE: Final = {"ok": "green"}


def rate(value: float | None) -> str:
    """Return messages a second for people; an hyphen where they are unknown."""
    if value is None:
        return "-"
    return f"{value:.1f}" if 0 < value < 9.95 else f"{value:,.0f}"


def head(view: View, width: int) -> list[Text]:
    """Return the lines about the router and its spool."""
    status = view.status
    if status is None:
        return [cropped(Text(f"edgerouter top: {view.error or 'asking the router'}", "yellow" if view.error else ""), width)]
    return [cropped(line, width) for line in (*_alarms(view), _router(status), _spool(view, status, width), _flow(view, status))]


def _alarms(view: View) -> Iterator[Text]:
    if view.error and view.look is not None:
        since = time.monotonic() - view.look.at
        yield Text(f"no answer for {duration(since)}, old numbers: {view.error}", "bold red")
    if view.frozen:
        yield Text("the screen is held; space releases it", "bold yellow")


def _router(status: Mapping[str, Any]) -> Text:
    doing = Text("draining", "yellow") if status["draining"] else Text("running", "green")
    away = [name for name, source in status["sources"].items() if not source["connected"] and not source["paused"]]
    if away and not status["draining"]:
        doing = Text(f"{len(away)} of {counted(len(status['sources']), 'source')} not connected", "red")
    name = f"edgerouter {status['version']} on {status['host']}  "
    return Text.assemble((name, "bold"), doing, f"  up {duration(status['uptime_seconds'])}  {status['configuration']}")


def _spool(view: View, status: Mapping[str, Any], width: int) -> Text:
    spool = status["spool"]
    share = min(1.0, spool["bytes"] / spool["max_bytes"]) if spool["max_bytes"] else 0.0
    filled = round(share * _BAR)
    style = _SPOOL_STYLE.get(spool["state"], "red")
    line = Text.assemble("spool ", (spool["state"].replace("_", "-"), style))
    if width >= _WIDE:
        line.append_text(Text.assemble(" [", ("#" * filled, style), "." * (_BAR - filled), "]"))
    line.append(f" {share:.0%} of {size(spool['max_bytes'])}, {_time_left(view, spool)}, {counted(spool['messages'], 'message')}")
    if spool["dead_letters"]:
        line.append(f", {counted(spool['dead_letters'], 'dead letter')}", "yellow")
    return line


def _time_left(view: View, spool: Mapping[str, Any]) -> str:
    left = view.history.seconds_until_full(spool)
    if left is None:
        return "not growing"
    return f"full in {duration(left)}" if left else "full"


def _flow(view: View, status: Mapping[str, Any]) -> Text:
    lag = view.history.lag
    line = Text(f"in {rate(view.history.total('source'))}/s  out {rate(view.history.total('sink'))}/s  ")
    line.append("loop idle" if lag is None else f"loop lag {duration(lag)}", "yellow" if lag is not None and lag > 0.1 else "")
    shared = status["spool"].get("shared")
    if shared:
        mine = shared["routers"].get(shared["router"], 0)
        line.append(f"  {shared['router']}: {counted(mine, 'shard')}, {counted(len(shared['routers']), 'router')} share the spool")
    return line


def body(view: View, width: int, lines: int) -> list[Text]:
    """Return the tables and notices, so many lines at most."""
    status = view.status
    if status is None:
        return [Text(), cropped(f"Waiting for a router on {view.where}; q ends.", width)]
    sources = _sources(view, status, width)
    remarks = list(_remarks(view, status))
    most = max(1, (lines - _LEAST_SINKS) // 3)
    sources = _most(sources, most + 1, width)
    remarks = [cropped(line, width) for line in _most(remarks, most, width)]
    room = lines - len(sources) - len(remarks) - 2
    return [Text(), *sources, Text(), *_sinks(view, status, width, max(_LEAST_SINKS, room)), *remarks][:lines]


def _most(lines: list[Text], most: int, width: int) -> list[Text]:
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], cropped(Text(f"... {len(lines) - most + 1} more", "dim"), width)]


def _remarks(view: View, status: Mapping[str, Any]) -> Iterator[Text]:
    if status["configuration_error"]:
        first, *more = status["configuration_error"].split("\n")
        yield Text(f"the last change of the configuration was refused: {first}{' ...' if more else ''}", "red")
    if status["spool"]["reason"]:
        yield Text(f"spool: {status['spool']['reason']}", "red")
    for name, source in status["sources"].items():
        if not source["connected"]:
            yield Text(f"{name}: {source['reason']}", "yellow" if source["paused"] else "red")
    for name in sorted(status["sinks"], key=lambda name: STATES[view.state(name)].rank):
        sink, words = status["sinks"][name], STATES[view.state(name)]
        if sink["ledger_error"]:
            yield Text(f"{name}: {sink['ledger_error']}", "red")
        if words.cure and sink["last_error"]:
            yield Text(f"{name}: {sink['last_error']}", words.style)
    yield from notices(status)


def _sources(view: View, status: Mapping[str, Any], width: int) -> list[Text]:
    sources = status["sources"].items()
    states = [
        Text("paused", "yellow") if each["paused"] else Text("connected", "green") if each["connected"] else Text("away", "red")
        for _, each in sources
    ]
    last = ["" if each["last_message_at"] is None else duration(view.ago(each["last_message_at"])) for _, each in sources]
    return table(
        [
            Column("SOURCE", [f"  {name}" for name, _ in sources], 0, right=False),
            Column("STATE", states, 0, right=False),
            Column("A SECOND", [rate(view.history.rate("source", name)) for name, _ in sources], 1),
            Column("STORED", [f"{each['messages']:,}" for _, each in sources], 2),
            Column("LAST", last, 3),
            Column("REOPENED", [str(each["reopened"]) for _, each in sources], 5),
            Column("TYPE", [each["type"] for _, each in sources], 4, right=False),
        ],
        width,
    )


def _sinks(view: View, status: Mapping[str, Any], width: int, lines: int) -> list[Text]:
    names = view.sinks
    if view.selected not in names:
        view.selected = names[0] if names else ""
    at = names.index(view.selected) if names else 0
    first = max(0, min(at - (lines - 1) // 2, len(names) - (lines - 1)))
    visible = names[first : first + lines - 1]
    found = table(_columns(view, [(name, status["sinks"][name]) for name in visible]), width)
    if visible:
        found[at - first + 1].stylize("reverse")
    if len(visible) < len(names):
        found[0] = cropped(Text.assemble(found[0].plain.rstrip(), f"  {first + 1}-{first + len(visible)} of {len(names)}"), width)
        found[0].stylize("bold")
    elif not names:
        found.append(cropped(Text(f"  no sink matches {view.filter!r}" if view.filter else "  no sink", "dim"), width))
    return found


def _columns(view: View, sinks: list[tuple[str, Mapping[str, Any]]]) -> list[Column]:
    states = [STATES[view.state(name)] for name, _ in sinks]
    oldest = [each["oldest_pending_seconds"] for _, each in sinks]
    order = ORDERS[view.order][0]
    up = "^" if view.reverse else "v"

    def title(text: str, name: str = "") -> str:
        return f"{text}{up}" if (name or text.lower()) == order else text

    return [
        Column(
            title("SINK", "name"),
            [f"{'>' if name == view.selected else ' '} {name}" for name, _ in sinks],
            0,
            right=False,
        ),
        Column(title("STATE"), [Text(words.short, words.style) for words in states], 0, right=False),
        Column(title("A SECOND", "rate"), [rate(view.history.rate("sink", name)) for name, _ in sinks], 2),
        Column(title("PENDING"), [f"{each['pending']:,}" for _, each in sinks], 1),
        Column(title("OLDEST"), ["" if each is None else duration(each) for each in oldest], 3),
        Column(title("RETRIES"), [f"{each['failed_writes']:,}" for _, each in sinks], 6),
        Column(title("DEAD"), [f"{each['dead_lettered']:,}" for _, each in sinks], 4),
        Column("DROPPED", [f"{each['dropped']:,}" for _, each in sinks], 8),
        Column(title("LATENCY"), [duration(each["latency_seconds"]) if each["last_delivery_at"] else "" for _, each in sinks], 5),
        Column("TYPE", [each["type"] for _, each in sinks], 7, right=False),
        Column("DELIVERED", [f"{each['delivered']:,}" for _, each in sinks], 9),
    ]
