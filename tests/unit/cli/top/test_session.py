"""A session shows what any router answers, at any size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgerouter.admin.client import Client
from edgerouter.admin.status import Drop
from edgerouter.cli.output import all_shown
from edgerouter.cli.top.looking import Look
from edgerouter.cli.top.session import Session
from edgerouter.cli.top.view import ORDERS
from support.status import SINK, SOURCE, SPOOL, router_status

HOSTILE = "[bold red]x[/] \x1b]0;owned\x07\x1b[2J\x9b31m\r\u202egnp\u2066\u200b\ufeff\n" + "e" + "\u0301" * 10_000 + "\u6f22" * 300


class NoTerminal:
    """Takes the place of a terminal that is not drawn on."""

    def wake(self) -> None:
        """Nothing waits."""


def session(sinks: int = 3, text: str = HOSTILE) -> Session:
    """Return a session that has seen a router whose sinks, sources and spool fail with a text."""
    status = router_status(
        sources={f"in-{n}": msgspec.structs.replace(SOURCE, connected=False, reason=text) for n in range(3)},
        sinks={f"out-{n}": msgspec.structs.replace(SINK, state="retrying", last_error=text, pending=n) for n in range(sinks)},
        spool=replace(SPOOL, reason=text),
        drops=[Drop(sink="out-0", topic=text, reason=text, messages=1)],
    )
    made = Session(Client(Path("folder")), "folder", 1.0, NoTerminal())  # type: ignore[arg-type]
    look = Look(1.0, all_shown(msgspec.to_builtins(status)))
    made.view.look = look
    assert look.status is not None
    made.view.history.add(look.at, look.status)
    return made


@pytest.mark.parametrize("page", ["sinks", "details", "help"])
@pytest.mark.parametrize("size", [(1, 1), (20, 6), (40, 24), (80, 24), (300, 80)])
def test_every_page_fits_the_screen_and_shows_hostile_text_as_text(size: tuple[int, int], page: Any) -> None:
    made = session()
    made.press("down")
    made.view.page = page
    lines = made.lines(*size)
    assert len(lines) <= size[1]
    assert max(line.cell_len for line in lines) <= size[0]
    text = "".join(line.plain for line in lines)
    assert not [order for order in "\x1b\x07\x9b\r\n\u202e\u2066\u200b\ufeff" if order in text]


def test_thousands_of_sinks_are_a_screen_and_the_selected_one_is_on_it() -> None:
    made = session(2000, "down")
    made.press("end")
    lines = [line.plain.rstrip() for line in made.lines(80, 24)]
    assert [line for line in lines if line.startswith("> out-1999 ")]
    assert len(lines) == 24
    made.press("s")
    made.press("S")
    made.press("home")
    assert made.view.selected == made.view.sinks[0] == "out-999", "by name, backwards"


def test_every_order_has_all_sinks() -> None:
    made = session()
    for _ in ORDERS:
        made.press("s")
        assert sorted(made.view.sinks) == ["out-0", "out-1", "out-2"]


def test_keys_before_the_first_answer_do_nothing_wrong() -> None:
    made = Session(Client(Path("folder")), "folder", 1.0, NoTerminal())  # type: ignore[arg-type]
    for key in ("down", "enter", "p", "s", "/", "x", "enter", "escape", "?", "end", " "):
        made.press(key)
        assert made.lines(80, 24)
