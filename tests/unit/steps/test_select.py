"""Steps that let through some messages of each topic or key.

Covers also: edgerouter.steps.keys.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter import plugins
from support.steps import chain, message


def through(step: dict[str, Any], *stored: Any) -> list[int]:
    """Return the sequences that a step lets through, of messages in two lists."""
    steps = chain(step)
    half = len(stored) // 2
    return [item.original.sequence for part in (stored[:half], stored[half:]) for item in steps.apply(part).items]


def test_throttle_lets_through_the_first_of_each_topic_in_an_interval() -> None:
    stored = [message(1, n, topic=f"t/{n % 2}", at=n * 0.4) for n in range(1, 11)]
    assert through({"type": "throttle", "every": "1s"}, *stored) == [1, 2, 5, 6, 9, 10]


def test_throttle_by_a_member_and_a_clock_that_was_set_back() -> None:
    stored = [message({"d": n % 2}, n, at=at) for n, at in enumerate((100, 100, 5, 5.5, 5.7, 5.8), start=1)]
    assert through({"type": "throttle", "every": "1s", "by": ["d"]}, *stored) == [1, 2, 3, 4]


def test_sample_lets_through_one_in_so_many_of_each_key() -> None:
    stored = [message(1, n, topic=f"t/{n % 2}") for n in range(1, 13)]
    assert through({"type": "sample", "one_in": 3}, *stored) == [1, 2, 7, 8]


@pytest.mark.parametrize(
    ("config", "values", "passed"),
    [
        ({}, [{"v": 1}, {"v": 1}, {"v": 2}, {"v": 1}], [1, 3, 4]),
        ({"fields": ["v"], "deadband": 0.5}, [{"v": 1.0}, {"v": 1.5}, {"v": 1.6}, {"v": 2.0}], [1, 3]),
        ({"deadband_percent": 10}, [{"v": 100}, {"v": 109}, {"v": 111}, {"v": 120}], [1, 3]),
        ({"ignore": ["n"]}, [{"v": 1, "n": 1}, {"v": 1, "n": 2}, {"v": 2, "n": 3}], [1, 3]),
        ({"fields": ["v"]}, [{"v": True}, {"v": 1}, {"v": 1.0}, {}], [1, 2, 4]),
        ({"heartbeat": "2s"}, [{"v": 1}] * 5, [1, 3, 5]),
        ({}, [b"\xff\x00", b"\xff\x00", b"text"], [1, 3]),
    ],
)
def test_on_change_lets_through_what_differs(config: dict[str, Any], values: list[Any], passed: list[int]) -> None:
    stored = [message(value, n, at=n) for n, value in enumerate(values, start=1)]
    assert through({"type": "on_change", **config}, *stored) == passed


def test_a_message_without_the_key_is_handled_as_an_error() -> None:
    steps = chain({"type": "throttle", "every": 1, "by": ["d"], "on_error": "drop"})
    assert steps.apply([message({"x": 1}), message({"d": [1]}, 2), message({"d": 1}, 3)]).items != []
    assert steps.counted == {"1:throttle": {"missing field": 1, "wrong type": 1}}


@pytest.mark.parametrize("step", [{"type": "throttle", "every": "1h"}, {"type": "sample", "one_in": 1000}, {"type": "on_change"}])
def test_keys_of_devices_that_invent_them_take_a_bounded_memory(step: dict[str, Any]) -> None:
    steps = chain(step | {"max_bytes": 10_000})
    for n in range(1, 2001):
        assert len(steps.apply([message(b"x" * 50, n, topic=f"t/{n}" + "x" * 100)]).items) == 1
    again = steps.apply([message(b"x" * 50, 3000, topic="t/2000" + "x" * 100), message(b"x" * 50, 3001, topic="t/1" + "x" * 100)])
    assert [item.original.sequence for item in again.items] == [3001]


def test_what_excludes_each_other_is_refused() -> None:
    with pytest.raises(ValidationError, match="exclude each other"):
        plugins.find("step", "on_change").Config(fields=["a"], ignore=["b"])
    with pytest.raises(ValidationError, match="has an empty name"):
        plugins.find("step", "throttle").Config(every=1, by=["a..b"])


def test_documents_that_are_nested_too_deeply_to_be_compared_are_refused_alone() -> None:
    # up to Python 3.11 decoding has the same bound as comparing, and must stay below it
    depth = 500 if sys.version_info < (3, 12) else 1500
    deep = b"[" * depth + b"]" * depth
    steps = chain({"type": "on_change", "ignore": ["b"], "on_error": "drop"})
    results = steps.apply([message(payload, number) for number, payload in enumerate((deep, deep, b"1"), start=1)])
    assert [item.message.sequence for item in results.items] == [1, 3]
    assert steps.counts == {("1:on_change", "too large"): 1}
