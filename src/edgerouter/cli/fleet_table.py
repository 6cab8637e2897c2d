"""`edgerouter status --all`: a row for each router, the sum of their ledgers, and a row for each sink."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import typer
from rich.table import Table
from rich.text import Text

from edgerouter.admin.fleet import NUMBERS, Found, SinkNumbers, ask_all, by_sink, total
from edgerouter.cli.arguments import token_of
from edgerouter.cli.output import columns, console, counted, shown
from edgerouter.cli.status import duration
from edgerouter.visible import visible

_LONGEST_CELL: Final = 120
_TITLES: Final = ("matched", "delivered", "filtered", "dead", "dropped", "pending")


def show_all(targets: Sequence[str], *, seconds: float, token_file: Path | None, authorities: Path | None, as_json: bool) -> int:
    """Print the status of many routers; the exit code is 1 when one does not answer, or a ledger does not add up.

    Raises:
        EdgerouterError: the token or the authorities cannot be read.
    """
    token = None if token_file is None else token_of(token_file)
    found = asyncio.run(ask_all(targets, seconds=seconds, token=token, authorities=authorities))
    faults = _faults(found)
    if as_json:
        typer.echo(json.dumps(_plain(found, faults), indent=2))
    else:
        screen = console()
        screen.print(_routers(found))
        screen.print(_sinks(found))
        for fault in faults:
            screen.print(Text(shown(fault), "red"))
    return 1 if faults else 0


def _faults(found: Sequence[Found]) -> list[str]:
    faults = [f"{each.target}: {each.error}" for each in found if each.answer is None]
    for each in found:
        if each.answer is not None and each.counts:
            for name, numbers in each.answer.sinks.items():
                if numbers.difference or numbers.ledger_error:
                    fault = numbers.ledger_error or f"{numbers.difference} messages of `matched` are in no other number"
                    faults.append(f"{each.target}: the ledger of {name} does not add up: {fault}")
    return faults


def _plain(found: Sequence[Found], faults: Sequence[str]) -> dict[str, Any]:
    sinks = {name: numbers_of(total(held)) | {"routers": len(held)} for name, held in by_sink(found).items()}
    return {
        "routers": [_row(each) for each in found],
        "sinks": sinks,
        "sum": numbers_of(total(each.answer.total for each in found if each.answer is not None and each.counts)),
        "faults": list(faults),
    }


def _row(found: Found) -> dict[str, Any]:
    row: dict[str, Any] = {"router": found.target, "answered": found.answer is not None, "counted": found.counts}
    if found.error:
        row["error"] = found.error
    if (answer := found.answer) is not None:
        row |= {
            "host": answer.host,
            "version": answer.version,
            "spool": answer.spool.id,
            "state": answer.state,
            "uptime_seconds": answer.uptime_seconds,
            "spool_messages": answer.spool.messages,
            "spool_bytes": answer.spool.bytes,
            "ledger": numbers_of(answer.total),
        }
    return row


def numbers_of(numbers: SinkNumbers) -> dict[str, int]:
    """Return a ledger as plain data."""
    return {name: getattr(numbers, name) for name in (*NUMBERS, "uncounted")}


def _cells(numbers: SinkNumbers) -> list[str]:
    return [str(getattr(numbers, name)) for name in NUMBERS]


def _cell(text: str) -> str:
    text = visible(text)
    return text if len(text) <= _LONGEST_CELL else text[:_LONGEST_CELL] + "..."


def _routers(found: Sequence[Found]) -> Table:
    table = columns("router", "host", "up", "state", *_TITLES)
    counting = [each.answer for each in found if each.answer is not None and each.counts]
    for each in found:
        if each.answer is None:
            table.add_row(_cell(each.target), "", "", Text("no answer", "red"))
        elif not each.counts:
            table.add_row(_cell(each.target), _cell(each.answer.host), "", Text(_cell(each.error), "yellow"))
        else:
            state = each.answer.state
            table.add_row(
                _cell(each.target),
                _cell(each.answer.host),
                duration(each.answer.uptime_seconds),
                Text(_cell(state), "green" if state == "ok" else "yellow"),
                *_cells(each.answer.total),
            )
    answered = sum(each.answer is not None for each in found)
    summed = total(answer.total for answer in counting)
    table.add_row("sum", "", "", f"{answered} of {counted(len(found), 'router')} answered", *_cells(summed), style="bold")
    return table


def _sinks(found: Sequence[Found]) -> Table:
    table = columns("sink", "routers", "states", *_TITLES)
    for name, held in sorted(by_sink(found).items()):
        states = Counter(each.state or "not configured" for each in held)
        text = ", ".join(f"{state} {count}" for state, count in sorted(states.items()))
        table.add_row(_cell(name), str(len(held)), _cell(text), *_cells(total(held)))
    return table
