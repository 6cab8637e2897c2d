"""The one way to a terminal: text without secrets, and without orders to the terminal."""

from __future__ import annotations

import sys
import threading
import traceback
from types import TracebackType

import typer


def say(text: str, *, err: bool = False) -> None:
    """Print text for people. What programs read is printed as JSON, whose escapes are harmless."""
    typer.echo(shown(text), err=err)


def shown(text: str) -> str:
    """The text as it may be shown."""
    from edgerouter.masking import mask  # noqa: PLC0415  (`--version` answers at once)
    from edgerouter.visible import visible  # noqa: PLC0415

    return visible(mask(text), lines=True)


def hook_tracebacks() -> None:
    """Show tracebacks of what ends the process, or a thread, in the same way."""
    sys.excepthook = _told
    threading.excepthook = lambda failed: _told(failed.exc_type, failed.exc_value, failed.exc_traceback)


def _told(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt):
        return
    say("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"), err=True)
