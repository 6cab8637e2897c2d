"""Commands on a spool, of a running router through its control socket, of a stopped one by opening the spool."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import msgspec
import typer
from rich.table import Table

from edgerouter.admin import status
from edgerouter.admin.client import Client, NoRouter
from edgerouter.admin.control import OPERATIONS
from edgerouter.cli.nouns import counted
from edgerouter.cli.terminal import all_shown, console, say
from edgerouter.config.model import LogConfig, SpoolConfig
from edgerouter.errors import ConfigurationError, EdgerouterError
from edgerouter.logs import configure
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Spool
from edgerouter.spool.sqlite.db.schema import FILE
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
        return asyncio.run(_alone(spool, operation, given))
    return answer


async def _alone(spool: SpoolConfig, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    what = OPERATIONS[operation]
    async with _opened(spool) as opened:
        return await what.run(opened, msgspec.convert(arguments, what.request))


@asynccontextmanager
async def _opened(spool: SpoolConfig) -> AsyncIterator[Spool]:
    # the spool logs what it finds damaged, and standard output may be read by a program
    configure(LogConfig(level="warning"))
    # looking must not make one, in a folder that was misspelt
    try:
        there = any(spool.path.glob(f"{FILE}*"))
    except OSError as error:
        raise ConfigurationError(f"spool.path: {spool.path}: {error.strerror or error}") from None
    if not there:
        raise ConfigurationError(f"spool.path: {spool.path.absolute()}: there is no spool; a router makes it when it starts first")
    async with open_spool(spool) as opened:
        yield opened


def stopped_status(spool: SpoolConfig) -> dict[str, Any]:
    """What the spool of a stopped router says.

    Raises:
        EdgerouterError: it cannot be opened, or there is none.
    """

    async def look() -> dict[str, Any]:
        async with _opened(spool) as opened:
            found: dict[str, Any] = msgspec.to_builtins(status.stopped_status(opened))
            return found

    return asyncio.run(look())


def forget(spool: SpoolConfig, sink: str, configured: Collection[str]) -> dict[str, Any]:
    """Give up the position of a sink.

    Args:
        spool: whose.
        sink: its name.
        configured: sinks of the configuration. A stopped router's spool does not know them.

    Raises:
        EdgerouterError: the sink is in the configuration, or the spool does not know it.
    """
    if sink in configured:
        raise EdgerouterError(f"the sink {sink!r} is in the configuration; only one that was removed from it can be forgotten")
    return ask(spool, "forget", sink=sink)


def letters(spool: SpoolConfig, most: int | None = None, **which: Any) -> Iterator[dict[str, Any]]:
    """Every dead letter, or the first of them, page by page."""
    after, left = 0, most
    while left is None or left > 0:
        page = ask(spool, "dead-letters/list", **which, limit=min(PAGE, left or PAGE), after=after)["dead_letters"]
        if not page:
            return
        yield from page
        after = page[-1]["number"]
        left = None if left is None else left - len(page)


def list_letters(spool: SpoolConfig, *, limit: int, as_json: bool, **which: Any) -> None:
    """Print dead letters, oldest first."""
    found = list(letters(spool, limit, **which))
    total = count(spool, **which)
    if as_json:
        typer.echo(json.dumps({"dead_letters": found, "total": total}, indent=2))
        return
    table = Table("number", "sink", "time", "topic", "attempts", "reason", box=None, header_style="bold")
    for letter in all_shown(found):
        reason = f"{letter['error']}: {letter['reason']}"
        table.add_row(
            str(letter["number"]),
            letter["sink"],
            letter["last_attempt"],
            letter["message"]["topic"],
            str(letter["attempts"]),
            reason,
        )
    if found:
        console().print(table)
    typer.echo(f"{len(found)} of {counted(total, 'dead letter')}")


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


def why_nothing_is_replayed(spool: SpoolConfig, *, known: bool) -> str:
    """Say what keeps messages for a replay.

    Args:
        spool: as configured.
        known: the configuration says what `retain` is; a folder alone does not.
    """
    if known and not (spool.retain.age or spool.retain.bytes):
        return ": `spool.retain` is not set, so messages leave the spool once every sink has settled them"
    return ": the spool holds none that match and that it has settled; `spool.retain` says how long delivered messages stay"


def verify(spool: SpoolConfig, *, as_json: bool) -> int:
    """Check every chunk and every ledger; exit code 0 when there is nothing to complain of, else 1."""
    found = ask(spool, "verify")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        for problem in found["problems"]:
            say(problem, err=True)
        typer.echo(
            f"{counted(found['chunks'], 'chunk')}, {counted(found['messages'], 'message')},"
            f" {counted(found['damaged_chunks'], 'damaged chunk')}"
        )
    return 1 if found["problems"] else 0


def moment(text: str | None) -> int | None:
    """Return a time as users write it, in nanoseconds since 1970-01-01 UTC.

    Args:
        text: `2026-11-20T08:00`, `2026-11-20`, or `2h` for two hours ago.

    Raises:
        ConfigurationError: neither, or before 1970 or after 2262, which 64 bits do not hold.
    """
    if text is None:
        return None
    found: int | None = None
    with suppress(ValueError):
        if re.search(r"[a-z]\s*$", text):
            found = time.time_ns() - int(parse_duration(text) * 1e9)
    # out of range for the C library, which knows no time zone then
    with suppress(ValueError, OverflowError, OSError):
        if found is None:
            # without an offset: the device's own time
            found = int(datetime.fromisoformat(text).astimezone().timestamp() * 1e9)
    if found is None or not 0 <= found < 2**63:
        raise ConfigurationError(
            f"not a time from 1970 to 2262: {text!r}; write for example 2026-11-20T08:00, or 2h for two hours ago"
        )
    return found
