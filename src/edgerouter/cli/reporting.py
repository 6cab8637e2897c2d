"""Reports errors of a command in lines, with its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from edgerouter.cli.output import say
from edgerouter.errors import ConfigurationError, EdgerouterError, SpoolUnusable


def reporting(command: Callable[[], object]) -> None:
    """Run a command; report a wrong configuration without a traceback, and end with its exit code."""
    try:
        _refuse_bytes()
        command()
    except Exception as error:
        lines = _unwritten() if isinstance(error, OSError) else _lines(error)
        if lines is None:
            raise
        for line in lines:
            say(line, err=True)
        sys.exit(_exit_code(error))


def _unwritten() -> list[str] | None:
    """Return why standard output takes nothing, such as a full disk; `None` where it takes a line end.

    What is buffered would fail again at the end of the process, so nothing more goes there.
    """
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return [f"standard output cannot be written: {error.strerror}"]
    return None


def _refuse_bytes() -> None:
    """Refuse arguments that are not UTF-8: nothing that they could name is."""
    given = [*sys.argv[1:], os.environ.get("EDGEROUTER_CONFIG", "")]
    for argument in given:
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = argument.encode(errors="surrogateescape").decode(errors="backslashreplace")
            raise ConfigurationError(f"not UTF-8: {shown}") from None


def _lines(error: BaseException) -> list[str] | None:
    """Return the user's mistakes, one line each; `None` when the fault is ours."""
    if isinstance(error, BaseExceptionGroup):
        parts = [_lines(part) for part in error.exceptions]
        return None if None in parts else [line for part in parts if part for line in part]
    if isinstance(error, ConfigurationError):
        return list(error.problems)
    return [str(error)] if isinstance(error, EdgerouterError) else None


def _exit_code(error: BaseException) -> int:
    """2 for what the user has to set right in the configuration, 1 for what could not be done now."""
    if isinstance(error, BaseExceptionGroup):
        return max(map(_exit_code, error.exceptions))
    return 2 if isinstance(error, ConfigurationError | SpoolUnusable) else 1
