"""The step `filter` lets through what meets all conditions."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter import plugins
from support.steps import chain, message


def lets_through(config: dict[str, Any], payload: Any = b"1", topic: str = "plant/m1/temp") -> bool:
    """Return whether a filter lets one message through; what it leaves out is filtered."""
    found = chain({"type": "filter", "on_error": "drop", **config}).apply([message(payload, topic=topic)])
    assert len(found.items) + len(found.filtered) == 1
    return bool(found.items)


@pytest.mark.parametrize(
    ("config", "passes"),
    [
        ({"topics": ["plant/+/temp"]}, True),
        ({"topics": ["plant/+/hum", "other/#"]}, False),
        ({"topics": ["plant/+/hum"], "invert": True}, True),
        ({"topic_regex": "m[0-9]/temp$"}, True),
        ({"topic_regex": "^m"}, False),
        ({"topics": ["#"], "topic_regex": "hum"}, False),
    ],
)
def test_a_topic_is_compared(config: dict[str, Any], passes: bool) -> None:
    assert lets_through(config) is passes


@pytest.mark.parametrize(
    ("comparison", "passes"),
    [
        ({"field": "t", "above": 20}, True),
        ({"field": "t", "above": 21}, False),
        ({"field": "t", "at_least": 21, "at_most": 21}, True),
        ({"field": "t", "below": 21}, False),
        ({"field": "ok", "equals": True}, True),
        ({"field": "ok", "equals": 1}, False),
        ({"field": "one", "equals": True}, False),
        ({"field": "one", "equals": 1.0}, True),
        ({"field": "none", "equals": None}, True),
        ({"field": "name", "one_of": ["a", "motor"]}, True),
        ({"field": "name", "matches": "^mo"}, True),
        ({"field": "name", "not_equals": "motor"}, False),
        ({"field": "absent", "not_equals": "motor"}, True),
        ({"field": "absent", "above": 1}, False),
        ({"field": "absent", "exists": False}, True),
        ({"field": "t", "exists": False}, False),
        ({"field": "deep.list.1", "equals": 5}, True),
        ({"field": "name", "above": 3}, False),
    ],
)
def test_a_member_is_compared(comparison: dict[str, Any], passes: bool) -> None:
    payload = {"t": 21, "ok": True, "one": 1, "none": None, "name": "motor", "deep": {"list": [4, 5]}}
    assert lets_through({"fields": [comparison]}, payload) is passes


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ("t > `20` && ok", True),
        ("length(list) == `2`", True),
        ("t > `30` || !ok", False),
        ("absent", False),
        ("zero", True),
        ("empty", False),
    ],
)
def test_an_expression_decides(where: str, passes: bool) -> None:
    assert lets_through({"where": where}, {"t": 21, "ok": True, "list": [1, 2], "zero": 0, "empty": []}) is passes


def test_all_conditions_hold_and_the_topic_spares_the_reading() -> None:
    config = {"topics": ["alarms/#"], "fields": [{"field": "level", "at_least": 3}], "where": "on"}
    assert lets_through(config, {"level": 3, "on": True}, "alarms/a")
    assert not lets_through(config, {"level": 2, "on": True}, "alarms/a")
    steps = chain({"type": "filter", **config})
    assert steps.apply([message(b"no json", topic="other")]).items == []
    assert steps.counted == {"1:filter": {"filtered": 1}}


def test_a_filter_without_a_condition_is_refused() -> None:
    config = plugins.find("step", "filter").Config
    with pytest.raises(ValidationError, match="has no condition"):
        config()
    with pytest.raises(ValidationError, match="compares with nothing"):
        config(fields=[{"field": "a"}])
    with pytest.raises(ValidationError, match="is not a regular expression"):
        config(topic_regex="(")
