"""The step `window` sends one message for all of a key in an interval, and loses none of those behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter import plugins
from edgerouter.pipeline.shaping.chain import FOR_EVER
from support.steps import SECOND, START, chain, message

BEGUN = START - START % (10 * SECOND)
"""Beginning of an interval of ten seconds."""


def at(second: float) -> float:
    """Return the time of a message so many seconds after the interval began."""
    return (BEGUN - START) / SECOND + second


def results(items: Any) -> list[tuple[str, Any]]:
    return [(item.message.id, json.loads(item.message.payload)) for item in items]


def test_a_window_computes_and_closes_when_its_interval_is_over() -> None:
    functions = ["count", "min", "max", "mean", "sum", "first", "last", "p50", "p95"]
    steps = chain({"type": "window", "every": "10s", "fields": ["v"], "functions": functions})
    stored = [message({"v": v}, n, at=at(n)) for n, v in enumerate((5, 1, 4, 2.5), start=1)]
    found = steps.apply(stored)
    assert (found.items, found.filtered, steps.held) == ([], [], {1, 2, 3, 4})
    assert steps.due == BEGUN + 11 * SECOND
    assert steps.flush(BEGUN + 10 * SECOND).items == []
    (item,) = steps.flush(BEGUN + 11 * SECOND).items
    computed = {"count": 4, "min": 1, "max": 5, "mean": 3.125, "sum": 12.5, "first": 5, "last": 2.5, "p50": 2.5, "p95": 5}
    assert results([item]) == [
        ("spool-1~4", {"start": "2023-11-14T22:13:20Z", "end": "2023-11-14T22:13:30Z", "messages": 4, "v": computed})
    ]
    assert item.behind is not None
    assert [stored.message for stored in item.behind] == stored
    assert steps.due is None
    assert not steps.held


def test_each_key_has_its_window_and_the_next_message_closes_those_that_are_over() -> None:
    steps = chain({"type": "window", "every": "10s", "by": ["topic", "unit"], "functions": ["count"], "fields": ["v"]})
    stored = [message({"v": n, "unit": "C" if n % 2 else "F"}, n, topic=f"t/{n % 4 // 2}", at=at(n / 10)) for n in range(1, 9)]
    found = steps.apply([*stored, message({"v": 1, "unit": "C"}, 9, topic="t/0", at=at(12))])
    counted = {
        (item.message.topic, document["unit"]): document["v"]["count"] for item in found.items for _, document in results([item])
    }
    assert counted == {("t/0", "C"): 2, ("t/1", "F"): 2, ("t/1", "C"): 2, ("t/0", "F"): 2}
    assert steps.held == {9}


def test_a_payload_that_is_one_number_is_computed_with() -> None:
    steps = chain({"type": "window", "every": "10s"})
    steps.apply([message(n, n, at=at(1)) for n in (1, 2)])
    ((_, document),) = results(steps.flush(FOR_EVER).items)
    assert (document["count"], document["mean"]) == (2, 1.5)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"x", "not JSON"),
        ({"w": 1}, "missing field"),
        (b"21.5", "missing field"),
        ({"v": "1"}, "wrong type"),
        ({"v": True}, "wrong type"),
        (b'{"v":1e301}', "out of range"),
    ],
)
def test_what_cannot_be_computed_with_goes_on_and_is_counted(payload: Any, reason: str) -> None:
    steps = chain({"type": "window", "every": "10s", "fields": ["v"]})
    assert len(steps.apply([message(payload)]).items) == 1
    assert (steps.counted, steps.held) == ({"1:window": {reason: 1}}, set())


@pytest.mark.parametrize("bound", [{"max_messages": 100}, {"max_bytes": "100KiB"}])
def test_memory_is_bounded_and_the_oldest_window_is_sent_early(bound: dict[str, Any]) -> None:
    steps = chain({"type": "window", "every": "10s", "functions": ["count"], **bound})
    early = []
    for n in range(1, 2001):
        early += steps.apply([message(n, n, topic=f"t/{n % 7}" + "x" * 600, at=at(1))]).items
    assert len(steps.held) <= 100
    counted = sum(document["count"] for _, document in results([*early, *steps.flush(FOR_EVER).items]))
    assert counted == 2000


def test_the_same_messages_make_the_same_window_in_whatever_lists_they_are_read() -> None:
    stored = [message({"v": n % 13}, n, topic=f"t/{n % 3}", at=at(n * 0.05)) for n in range(1, 400)]
    made = []
    for length in (1, 7, 400):
        steps = chain({"type": "window", "every": "10s", "fields": ["v"], "functions": ["count", "sum", "p50"]})
        items = [item for k in range(0, 400, length) for item in steps.apply(stored[k : k + length]).items]
        made.append(sorted(str(each) for each in results([*items, *steps.flush(FOR_EVER).items])))
    assert made[0] == made[1] == made[2]


def test_steps_behind_a_window_shape_its_result() -> None:
    steps = chain(
        {"type": "window", "every": "10s", "fields": ["v"], "functions": ["mean"]},
        {"type": "filter", "fields": [{"field": "v.mean", "above": 5}]},
        {"type": "topic", "topic": "means/{topic}"},
    )
    steps.apply([message({"v": v}, n, topic=f"t/{n % 2}", at=at(1)) for n, v in enumerate((1, 10, 2, 20), start=1)])
    found = steps.flush(FOR_EVER)
    assert [(item.message.topic, item.message.id) for item in found.items] == [("means/t/0", "spool-2~4")]
    assert [each.sequence for each in found.filtered] == [1, 3]


def test_an_unknown_function_is_refused() -> None:
    for wrong in ("median", "p0", "p100", "p"):
        with pytest.raises(ValidationError, match="is not known"):
            plugins.find("step", "window").Config(every=1, functions=[wrong])
