"""A state has words and a cure, the same as on the dashboard."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, get_args

import msgspec
import pytest

from edgerouter.cli.states import STATES, state_of
from edgerouter.pipeline.status import State
from support.status import SINK

SCRIPT = files("edgerouter.admin.dashboard").joinpath("static/dashboard.js").read_text("utf-8")


@pytest.mark.parametrize("state", STATES)
def test_the_dashboard_says_the_same(state: str) -> None:
    words = STATES[state]
    assert f'"{words.long}"' in SCRIPT
    assert f'"{words.cure}"' in SCRIPT


def test_every_state_of_a_sink_has_words() -> None:
    assert set(get_args(State)) | {"paused"} <= set(STATES)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"state": "retrying"}, "retrying"),
        ({"state": "of a newer router"}, "stuck"),
        ({"pending": 0}, "idle"),
        ({"pending": 0, "idle_seconds": 60.0}, "idle"),
        ({"pending": 0, "idle_seconds": 1.0}, "ok"),
        ({"pending": 7, "idle_seconds": 1.0}, "ok"),
        ({"pending": 7, "idle_seconds": 300.0, "oldest_pending_seconds": 1.0}, "ok"),
        ({"pending": 7, "idle_seconds": 1.0, "oldest_pending_seconds": 300.0}, "behind"),
        ({"pending": 7, "idle_seconds": 300.0, "oldest_pending_seconds": 300.0}, "stuck"),
        ({"pending": 7, "idle_seconds": 300.0, "oldest_pending_seconds": 300.0, "patience_seconds": 600.0}, "ok"),
    ],
)
def test_a_sink_that_has_messages_and_delivers_none_or_too_few_is_named(changes: dict[str, Any], state: str) -> None:
    sink = {**msgspec.to_builtins(SINK), **changes}
    assert state_of(sink, 3600.0) == state
