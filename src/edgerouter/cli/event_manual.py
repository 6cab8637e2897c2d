"""Print docs/reference/events.md (`make docs-reference`) from the kinds of events and the fields of one."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence

from edgerouter.telemetry.event_kinds import EVENT_KINDS
from edgerouter.telemetry.events import MOST_BYTES, MOST_CHARACTERS, MOST_EVENTS, Event

_HEAD = f"""\
# Events

<!-- Written by `make docs-reference` from src/edgerouter/telemetry/event_kinds.py; change the texts there. -->

Every kind of event that the router records: when it happens, its fields, and what to do. An event is a change of state,
never a single message.

The router holds the last {MOST_EVENTS:,} events since its start, {MOST_BYTES // 1024} KiB at most. It compares its state with
that of a second ago, so faster changes become one event. A restart begins a new record; the log keeps the old one.
[The dashboard](../how-to/dashboard.md), `edgerouter top` and [the admin API](admin-api.md#events) show them:

```sh
curl --unix-socket /var/lib/edgerouter/control.sock 'http://router/api/v1/events?limit=20'
curl --unix-socket /var/lib/edgerouter/control.sock --no-buffer --header 'Accept: text/event-stream' http://router/api/v1/events
```

The log has the same changes, with more detail. Base [alerts](../how-to/runbook.md) on metrics, which also count what happened
between two looks.

## Kinds
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *_kinds(), "", "## Fields", "", *_fields()]) + "\n"


def _kinds() -> Iterator[str]:
    yield "| kind | happens when | level | fields | what to do |"
    yield "|---|---|---|---|---|"
    for name, kind in EVENT_KINDS.items():
        states = f": {_listed(kind.states)}" if kind.states else ""
        fields = _listed(kind.fields).replace("`state`", f"`state`{states}")
        yield f"| `{name}` | {kind.happens} | {_listed(kind.levels)} | {fields} | {kind.next_step} |"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _fields() -> Iterator[str]:
    yield "`id`, `at`, `kind`, `level` and `text` are always filled."
    yield f"Texts are cut at {MOST_CHARACTERS} characters, and secrets in them are masked."
    yield from ("", "| field | value | meaning |", "|---|---|---|")
    (event,) = ast.parse(inspect.getsource(Event)).body
    assert isinstance(event, ast.ClassDef)
    names = {"int": "whole number", "float": "number", "str": "text", "Kind": "text", "Level": "text"}
    for field, doc in zip(event.body, event.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
            yield f"| `{ast.unparse(field.target)}` | {names[ast.unparse(field.annotation)]} | {doc.value.value!s} |"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201  (printing it is its purpose)
