"""The reference of the events says what the code records.

Covers also: edgerouter.cli.event_manual, docs/reference/events.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import fields

from edgerouter.cli.event_manual import page
from edgerouter.pipeline.status import State
from edgerouter.spool.status import SpoolState
from edgerouter.telemetry.event_kinds import EVENT_KINDS
from edgerouter.telemetry.events import Event, Kind, Level

ROOT = Path(__file__).parents[3]
ALWAYS = {"id", "at", "kind", "level", "text"}
Place = tuple[str, ast.Call]


def recorded() -> Iterator[Place]:
    """Yield every call in the code that records an event."""
    for file in (ROOT / "src").rglob("*.py"):
        text = file.read_text()
        if "vents.add(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("events.add"):
                yield f"{file.name}:{node.lineno}", node


CALLS = list(recorded())


def test_the_committed_page_is_up_to_date() -> None:
    assert (ROOT / "docs/reference/events.md").read_text() == page(), "run `make docs-reference`"


def test_every_kind_and_every_field_is_on_the_page() -> None:
    assert tuple(EVENT_KINDS) == get_args(Kind)
    for name in (*get_args(Kind), *(field.name for field in fields(Event))):
        assert f"\n| `{name}` |" in page()


def test_the_states_are_those_of_sinks_and_of_the_spool() -> None:
    assert set(EVENT_KINDS["sink"].states) == set(get_args(State))
    assert set(EVENT_KINDS["spool"].states) == set(get_args(SpoolState))


def test_every_kind_is_recorded_somewhere() -> None:
    assert {ast.literal_eval(call.args[0]) for _, call in CALLS} == set(get_args(Kind))


@pytest.mark.parametrize(("place", "call"), CALLS, ids=[place for place, _ in CALLS])
def test_what_is_recorded_is_what_the_kind_says(place: str, call: ast.Call) -> None:
    """Constants are compared; what is computed at run time is named by the kinds of sinks and of the spool above."""
    kind = EVENT_KINDS[ast.literal_eval(call.args[0])]
    given = {word.arg: word.value for word in call.keywords}
    if not (isinstance(call.args[1], ast.Constant) and call.args[1].value == ""):
        given["subject"] = call.args[1]
    assert set(given) - ALWAYS <= set(kind.fields), place
    level, state = given.get("level", ast.Constant("info")), given.get("state")
    assert set(kind.levels) <= set(get_args(Level))
    assert not isinstance(level, ast.Constant) or level.value in kind.levels, place
    assert not isinstance(state, ast.Constant) or state.value in kind.states, place
