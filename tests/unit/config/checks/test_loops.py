"""The check for loops knows which topics a sink publishes to."""

from __future__ import annotations

from edgerouter.config.checks.loops import filters_of
from edgerouter.topics import matches


def test_the_topics_of_a_template_are_known_as_filters() -> None:
    assert filters_of("{topic}", ["a/#", "b"]) == ["a/#", "b"]
    assert filters_of("sites/{host}/{topic}", ["a/#"]) == ["sites/+/#"]
    assert filters_of("cooked/{topic[1]}/x", ["a/#"]) == ["cooked/+/x"]
    assert filters_of("{property[room]}/x", ["a/#"]) == ["#"]
    assert matches("sites/+/#", "sites/h/a/b")
