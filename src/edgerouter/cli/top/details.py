"""Lines of the page about one sink, and of the page with the keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from edgerouter.cli.output import counted
from edgerouter.cli.states import STATES
from edgerouter.cli.status import duration, size
from edgerouter.cli.top.columns import Column, table
from edgerouter.cli.top.overview import rate
from edgerouter.cli.top.view import View

_LONGEST_ERROR: Final = 2000
_LEDGER: Final = ("delivered", "filtered", "dead_lettered", "dropped", "pending")
_MOST_EVENTS: Final = 50
_LEVELS: Final = {"warning": "yellow", "error": "red"}
_KEYS: Final = (
    ("up, down, k, j", "select a sink; page up, page down, home, end too"),
    ("enter, right", "details of the sink: last error, what to do, its events"),
    ("escape, left", "back"),
    ("s, S", "sort by the next column; reverse the order"),
    ("/", "show only sinks whose name, type or state contains a text"),
    ("p", "pause the sink, or resume it; asks first"),
    ("space", "hold the screen as it is, and release it"),
    ("ctrl-l", "draw the screen anew"),
    ("?, h", "this page"),
    ("q, ctrl-c", "end"),
)
_MEANINGS: Final = (
    "Rates are means over five seconds. PENDING is what a sink has still to deliver, OLDEST the age of the oldest such message, "
    "RETRIES its failed writes since the start, DEAD its dead letters, LATENCY the age of the last batch at its delivery."
)


def details(view: View, console: Console, width: int) -> list[Text]:
    """Return all lines about the selected sink."""
    sink = (view.status or {"sinks": {}})["sinks"].get(view.selected)
    if sink is None:
        return [Text("The sink is not configured any more.", "yellow")]
    words = STATES[view.state(view.selected)]
    wrapped: list[Text] = [Text.assemble((view.selected, "bold"), f" ({sink['type']})  ", (words.long, words.style))]
    if words.cure:
        wrapped.append(Text(words.cure))
    if sink["last_error"]:
        when = f" {duration(view.ago(sink['last_error_at']))} ago" if sink["last_error_at"] else ""
        wrapped += [Text(), Text(f"Last error{when}:", "bold"), Text(sink["last_error"][:_LONGEST_ERROR], words.style)]
    if sink["ledger_error"]:
        wrapped.append(Text(sink["ledger_error"], "red"))
    wrapped += [Text(), *map(Text, _facts(view, sink))]
    lines = [line for text in wrapped for line in _wrapped(text, console, width)]
    return [*lines, Text(), *_events(view, console, width)]


def _wrapped(text: Text, console: Console, width: int) -> Iterator[Text]:
    yield from text.wrap(console, max(10, width)) or [Text()]


def _facts(view: View, sink: Mapping[str, Any]) -> Iterator[str]:
    ledger = " + ".join(f"{name.replace('_', '-')} {sink[name]:,}" for name in _LEDGER)
    yield f"Messages: matched {sink['matched']:,} = {ledger}"
    if sink["uncounted"]:
        yield f"{counted(sink['uncounted'], 'stored message')} still to be compared with its topics"
    oldest, last = sink["oldest_pending_seconds"], sink["last_delivery_at"]
    flow = [f"{rate(view.history.rate('sink', view.selected))}/s"]
    flow += [f"oldest pending {duration(oldest)}"] if oldest is not None else []
    flow += (
        [f"last delivery {duration(view.ago(last))} ago", f"latency {duration(sink['latency_seconds'])}"]
        if last
        else ["no delivery since the start"]
    )
    yield f"Flow: {', '.join(flow)}"
    written = f"{counted(sink['written_messages'], 'message')}, {size(sink['written_bytes'])}, retries included"
    throttled = f"throttled for {duration(sink['throttled_seconds'])}"
    yield f"Writes: {sink['writes']:,}, {sink['failed_writes']:,} failed; {written}; {throttled}"
    for step, got in sink["step_received"].items():
        left = ", ".join(f"{reason} {count:,}" for reason, count in sink["steps"].get(step, {}).items())
        yield f"Step {step}: {counted(got, 'message')}{f'; {left}' if left else ''}"


def _events(view: View, console: Console, width: int) -> Iterator[Text]:
    mine = [each for each in view.events if each["subject"] == view.selected][-_MOST_EVENTS:]
    yield Text("EVENTS, newest first", "bold")
    if not mine:
        yield Text("none since the router's start", "dim")
    for each in reversed(mine):
        at = datetime.fromtimestamp(each["at"]).astimezone()
        text = Text(f"{at:%H:%M:%S} {each['text'][:_LONGEST_ERROR]}", _LEVELS.get(each["level"], ""))
        yield from _wrapped(text, console, width)


def keys(console: Console, width: int) -> list[Text]:
    """Return the lines with the keys."""
    columns = [Column("KEY", [key for key, _ in _KEYS], 0, right=False), Column("", [text for _, text in _KEYS], 0, right=False)]
    return [*table(columns, width), Text(), *_wrapped(Text(_MEANINGS), console, width)]
