"""Every built-in step passes the suite that authors of steps use, and the suite finds what it is for.

Covers: edgerouter.testing.step_conformance, edgerouter.testing.step_bench.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from edgerouter import BadInput, Item, Step, StepConfig, plugins
from edgerouter.testing import StepConformance

READINGS = tuple(b'{"value": %d, "unit": "C", "list": [1, {"a": 2}], "readings": []}' % value for value in (20, 21, 30))
KEY = base64.b64encode(bytes(32)).decode()
TIGHT = {"max_bytes": "64KiB"}
CASES: dict[str, Mapping[str, Any]] = {
    "compress": {},
    "convert": {"fields": [{"field": "value", "from_unit": "celsius", "to_unit": "kelvin"}, {"field": "unit", "type": "text"}]},
    "drop_fields": {"fields": ["unit", "list.0"]},
    "edgex_event": {},
    "encrypt": {"key": KEY},
    "envelope": {},
    "filter": {"fields": [{"field": "value", "above": 20}], "where": "contains(keys(@), 'unit')"},
    "on_change": {"fields": ["value"], "deadband": 1},
    "pick": {"fields": ["value", "list"]},
    "project": {"expression": "{v: value, l: list[1]}"},
    "rename": {"fields": {"value": "reading.value"}},
    "sample": {"one_in": 2},
    "set": {"fields": {"site.name": "north"}},
    "split": {"field": "list", "keep": ["unit"]},
    "tags": {"tags": {"site": "{topic[0]}"}},
    "throttle": {"every": 2},
    "topic": {"topic": "{host}/{topic[1:]}"},
    "user_properties": {"properties": {"site": "north"}},
    "validate": {"schema": {"properties": {"value": {"maximum": 25}}}},
    "window": {"every": 2, "fields": ["value"]},
}


def conformance(name: str) -> type[StepConformance]:
    """Derive the suite for a built-in step."""
    step = plugins.find("step", name)
    tight = TIGHT if step.stateful or step.holds else {}
    members = {"step_class": step, "config": CASES[name], "samples": READINGS, "tight": tight}
    return type(f"Test_{name}", (StepConformance,), members)


for _name in CASES:
    globals()[f"Test_{_name}"] = conformance(_name)


def test_every_built_in_step_takes_part() -> None:
    assert {plugin.name for plugin in plugins.listing() if plugin.kind == "step" and plugin.distribution == "edgerouter"} == set(
        CASES
    )


class _Config(StepConfig):
    pass


class _Step(Step[_Config]):
    def apply(self, items: list[Item]) -> list[Item]:
        return items


class _Reverses(_Step):
    def apply(self, items: list[Item]) -> list[Item]:
        return items[::-1]


class _Doubles(_Step):
    def apply(self, items: list[Item]) -> list[Item]:
        return items * 2


class _ChangesInPlace(_Step):
    def apply(self, items: list[Item]) -> list[Item]:
        for item in items:
            if isinstance(item.read, dict):
                item.read["seen"] = True
        return items


class _Counts(_Step):
    seen = 0

    def apply(self, items: list[Item]) -> list[Item]:
        type(self).seen += 1
        return [item for item in items if self.seen % 2]


class _Raises(_Step):
    def apply(self, items: list[Item]) -> list[Item]:
        return [item for item in items if item.document["value"]]


class _GoesOnAllTheSame(_Step):
    def apply(self, items: list[Item]) -> list[Item]:
        for item in items:
            if not item.message.payload.startswith(b"{"):
                self.context.refuse(item, BadInput("not JSON"))
        return items


class _HoldsInSecret(_Step):
    def apply(self, items: list[Item]) -> list[Item]:
        return [*Item.merged(items, 1, received_at=1).parts([1, 2])]


class _Remembers(_Step):
    stateful = True

    def apply(self, items: list[Item]) -> list[Item]:
        self.__dict__.setdefault("topics", set()).update(item.message.topic for item in items)
        return items


@pytest.mark.parametrize(
    ("step", "promise", "error"),
    [
        (_Reverses, "test_order_is_kept", "keeps the order"),
        (_Doubles, "test_every_message_is_accounted_for", "returned twice"),
        (_ChangesInPlace, "test_shared_documents_are_not_changed", "copy what you change"),
        (_Counts, "test_results_do_not_depend_on_the_lists", "differ"),
        (_HoldsInSecret, "test_every_message_is_accounted_for", "splits = True"),
        (_Remembers, "test_memory_is_bounded_for_invented_topics", "bound what is kept"),
    ],
)
def test_a_step_that_breaks_a_promise_fails(step: type[Step[Any]], promise: str, error: str) -> None:
    members = {"step_class": step, "config": {}, "samples": READINGS, "tight": {"on_error": "drop"}}
    suite: Any = type("Suite", (StepConformance,), members)()
    with pytest.raises(AssertionError, match=error):
        getattr(suite, promise)()


def test_a_step_that_raises_or_ignores_the_answer_of_refuse_fails() -> None:
    suite: Any = type("Suite", (StepConformance,), {"step_class": _Raises, "config": {}, "samples": READINGS})()
    with pytest.raises(BadInput):
        suite.test_bad_input_raises_nothing_and_is_handled_by_on_error("drop")
    suite.step_class = _GoesOnAllTheSame
    suite.test_bad_input_raises_nothing_and_is_handled_by_on_error("pass")
    with pytest.raises(AssertionError, match="returned False"):
        suite.test_bad_input_raises_nothing_and_is_handled_by_on_error("drop")
