"""Every built-in step passes the suite that authors of steps use, and the suite finds what it is for.

Covers: edgerouter.testing.step_conformance, edgerouter.testing.step_bench.
"""

from __future__ import annotations

import base64
import inspect
import re
from collections.abc import Mapping
from typing import Any

import pytest

from edgerouter import plugins
from edgerouter.testing import StepConformance
from support.wrong import steps  # noqa: F401  (fills the catalogue)
from support.wrong.catalogue import Wrong, of

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


@pytest.mark.parametrize("each", of("step"), ids=lambda each: each.plugin.__name__)
def test_a_wrong_step_fails_the_test_of_its_promise(each: Wrong) -> None:
    """Fails with the cure."""
    members = {"step_class": each.plugin, "config": {}, "samples": READINGS, "tight": {"on_error": "drop"}}
    suite: Any = type("Suite", (StepConformance,), members)()
    test = getattr(suite, each.test)
    arguments = ("drop",) if "on_error" in inspect.signature(test).parameters else ()
    with pytest.raises(AssertionError, match=re.escape(each.says)):
        test(*arguments)
