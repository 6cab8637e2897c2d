"""Commands on a spool, of a running router through its control socket, of a stopped one by opening the spool."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from edgerouter.admin.client import Client, NoRouter
from edgerouter.admin.control import OPERATIONS
from edgerouter.config.model import SpoolConfig
from edgerouter.errors import ConfigurationError, EdgerouterError
from edgerouter.spool import open_spool
from edgerouter.spool.sqlite_file import FILE
from edgerouter.units import parse_duration

PAGE = 500
"""Dead letters asked for at once."""


def ask(spool: SpoolConfig, operation: str, **arguments: Any) -> dict[str, Any]:
    """Do one operation, wherever it can be done.

    Raises:
        EdgerouterError: it is refused.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        answer: dict[str, Any] = Client(spool.path).post(f"/api/{operation}", given)
    except NoRouter:
        if spool.type == "memory":
            raise ConfigurationError("spool.type: memory: no router runs, and such a spool keeps nothing without one") from None
        # looking must not make one, in a folder that was misspelt
        if not any(spool.path.glob(f"{FILE}*")):
            raise ConfigurationError(f"spool.path: {spool.path}: there is no spool") from None
        return asyncio.run(_alone(spool, operation, given))
    return answer


async def _alone(spool: SpoolConfig, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    what = OPERATIONS[operation]
    async with open_spool(spool) as opened:
        return await what.run(opened, msgspec.convert(arguments, what.request))


def letters(spool: SpoolConfig, **which: Any) -> Iterator[dict[str, Any]]:
    """Every dead letter, page by page."""
    after = 0
    while page := ask(spool, "dead-letters/list", **which, limit=PAGE, after=after)["dead_letters"]:
        yield from page
        after = page[-1]["number"]


def list_letters(spool: SpoolConfig, *, limit: int, as_json: bool, **which: Any) -> None:
    """Print dead letters, oldest first."""
    answer = ask(spool, "dead-letters/list", **which, limit=limit)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    table = Table("number", "sink", "time", "topic", "attempts", "reason", box=None, header_style="bold")
    for letter in answer["dead_letters"]:
        reason = f"{letter['error']}: {letter['reason']}"
        table.add_row(
            str(letter["number"]),
            letter["sink"],
            letter["last_attempt"],
            letter["message"]["topic"],
            str(letter["attempts"]),
            reason,
        )
    if answer["dead_letters"]:
        Console().print(table)
    typer.echo(f"{len(answer['dead_letters'])} of {answer['total']} dead letters")


def show_letter(spool: SpoolConfig, number: int) -> None:
    """Print one dead letter, whole.

    Raises:
        EdgerouterError: there is none of that number.
    """
    found = ask(spool, "dead-letters/list", numbers=[number])["dead_letters"]
    if not found:
        raise EdgerouterError(f"there is no dead letter {number}")
    typer.echo(json.dumps(found[0], indent=2))


def export_letters(spool: SpoolConfig, **which: Any) -> None:
    """Print dead letters as JSON Lines."""
    for letter in letters(spool, **which):
        typer.echo(json.dumps(letter, separators=(",", ":")))


def count(spool: SpoolConfig, **which: Any) -> int:
    """How many dead letters there are."""
    total: int = ask(spool, "dead-letters/list", **which, limit=1)["total"]
    return total


def verify(spool: SpoolConfig, *, as_json: bool) -> int:
    """Check every chunk and every ledger; exit code 0 when there is nothing to complain of, else 1."""
    found = ask(spool, "verify")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        for problem in found["problems"]:
            typer.echo(problem, err=True)
        typer.echo(f"{found['chunks']} chunks, {found['messages']} messages, {found['damaged_chunks']} damaged chunks")
    return 1 if found["problems"] else 0


def moment(text: str | None) -> int | None:
    """A time as users write it, in nanoseconds since 1970-01-01 UTC: `2026-11-20T08:00`, `2026-11-20`, or `2h` for two hours ago.

    Raises:
        ConfigurationError: neither.
    """
    if text is None:
        return None
    if re.fullmatch(r"[\d.]+(us|ms|s|m|h|d|w)([\d.]+(us|ms|s|m|h|d|w))*", text):
        return time.time_ns() - int(parse_duration(text) * 1e9)
    try:
        # without an offset: the device's own time
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1e9)
    except ValueError:
        raise ConfigurationError(f"not a time: {text!r}; write for example 2026-11-20T08:00, or 2h for two hours ago") from None
