"""`edgerouter dead-letters`: list, show and export them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, Final

import typer
from rich.table import Table

from edgerouter.cli.output import all_shown, console, counted
from edgerouter.cli.spool import ask
from edgerouter.config.model import SpoolSection
from edgerouter.errors import EdgerouterError

_PAGE: Final = 500
"""Dead letters asked for at once."""


def letters(spool: SpoolSection, most: int | None = None, **which: Any) -> Iterator[dict[str, Any]]:
    """Yield every dead letter, or the first of them, page by page."""
    after, left = 0, most
    while left is None or left > 0:
        page = ask(spool, "dead-letters", **which, limit=min(_PAGE, left or _PAGE), after=after)["items"]
        if not page:
            return
        yield from page
        after = page[-1]["number"]
        left = None if left is None else left - len(page)


def print_letters(spool: SpoolSection, *, limit: int, as_json: bool, **which: Any) -> None:
    """Print dead letters, oldest first."""
    found = list(letters(spool, limit, **which))
    total = count_letters(spool, **which)
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


def print_letter(spool: SpoolSection, number: int) -> None:
    """Print one dead letter, whole.

    Raises:
        EdgerouterError: there is none of that number.
    """
    found = ask(spool, "dead-letters", numbers=[number])["items"]
    if not found:
        raise EdgerouterError(f"there is no dead letter {number}")
    typer.echo(json.dumps(found[0], indent=2))


def refuse_missing(spool: SpoolSection, numbers: Collection[int]) -> None:
    """Refuse numbers that no dead letter has, of a mistyped one or one that went meanwhile.

    Raises:
        EdgerouterError: one of them is missing.
    """
    there = {letter["number"] for letter in letters(spool, numbers=list(numbers))} if numbers else set()
    if missing := [str(number) for number in numbers if number not in there]:
        raise EdgerouterError(f"there is no dead letter {', '.join(missing)}; nothing is done")


def export_letters(spool: SpoolSection, **which: Any) -> None:
    """Print dead letters as JSON Lines."""
    for letter in letters(spool, **which):
        typer.echo(json.dumps(letter, separators=(",", ":")))


def count_letters(spool: SpoolSection, **which: Any) -> int:
    """Return the number of dead letters."""
    total: int = ask(spool, "dead-letters", **which, limit=1)["total"]
    return total
