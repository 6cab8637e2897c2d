"""Output for people: no secrets, no control characters, tables that are whole in a pipe."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


_UNBOUNDED: Final = 10_000
"""Columns of a pipe or a file; a table takes no more than it needs."""


def say(text: str, *, err: bool = False) -> None:
    """Print text for people. What programs read is printed as JSON, whose escapes are harmless."""
    import typer  # noqa: PLC0415  (a router that starts has nothing to say here)

    typer.echo(shown(text), err=err)


def shown(text: str) -> str:
    """Return the text as it may be shown."""
    from edgerouter.masking import mask  # noqa: PLC0415  (`--version` answers at once)
    from edgerouter.visible import visible  # noqa: PLC0415

    return visible(mask(text), lines=True)


def all_shown(value: Any) -> Any:
    """Return the answer of a router with every text in it, keys too, as it may be shown on one line."""
    from edgerouter.masking import mask  # noqa: PLC0415
    from edgerouter.visible import visible  # noqa: PLC0415

    if isinstance(value, str):
        return visible(mask(value))
    if isinstance(value, dict):
        return {all_shown(key): all_shown(inner) for key, inner in value.items()}
    return [all_shown(inner) for inner in value] if isinstance(value, list) else value


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 message`, `2 messages`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def columns(*titles: str) -> Table:
    """Return a table of Rich with these columns, whose cells stay on one line."""
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for title in titles:
        table.add_column(title, no_wrap=True)
    return table


def console() -> Console:
    """Return a console of Rich that takes no text for its markup: a topic may be `[red]` or `:smile:`.

    In a pipe or a file it is as wide as its widest table: Rich takes that for 80 columns, and cuts what is wider.
    """
    from rich.console import Console  # noqa: PLC0415

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _UNBOUNDED
    return Console(width=width, markup=False, emoji=False, highlight=False)


def hook_tracebacks() -> None:
    """Show the traceback of an error that ends the process, or a thread, in the same way."""
    sys.excepthook = _told
    threading.excepthook = lambda failed: _told(failed.exc_type, failed.exc_value, failed.exc_traceback)


def _told(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt):
        return
    say("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"), err=True)
