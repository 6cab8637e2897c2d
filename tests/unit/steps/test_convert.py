"""The step `convert` changes types, scales and units."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter import plugins
from support.steps import chain, message, shaped


@pytest.mark.parametrize(
    ("conversion", "value", "result"),
    [
        ({"from_unit": "celsius", "to_unit": "fahrenheit", "round": 6}, 100, 212.0),
        ({"from_unit": "fahrenheit", "to_unit": "celsius", "round": 6}, 32, 0.0),
        ({"from_unit": "kelvin", "to_unit": "celsius", "round": 2}, 0, -273.15),
        ({"from_unit": "bar", "to_unit": "hectopascal", "round": 0}, 1.013, 1013),
        ({"from_unit": "kilometre_per_hour", "to_unit": "metre_per_second"}, 36.0, 10.0),
        ({"scale": 0.1, "offset": -40, "round": 1}, 655, 25.5),
        ({"type": "number"}, "21.5", 21.5),
        ({"type": "number"}, " -7 ", -7),
        ({"type": "number"}, True, 1),
        ({"type": "integer"}, "21.5", 22),
        ({"type": "integer", "scale": 0.5}, 5, 2),
        ({"type": "text"}, 21.5, "21.5"),
        ({"type": "text"}, False, "false"),
        ({"type": "boolean"}, "ON", True),
        ({"type": "boolean"}, 0, False),
    ],
)
def test_a_member_is_converted(conversion: dict[str, Any], value: Any, result: Any) -> None:
    (found,) = shaped({"type": "convert", "fields": [{"field": "a.v", **conversion}]}, {"a": {"v": value}, "b": 1})
    assert found == {"a": {"v": pytest.approx(result)}, "b": 1}
    assert type(found["a"]["v"]) is type(result)


@pytest.mark.parametrize(
    ("conversion", "value", "reason"),
    [
        ({"type": "number"}, "warm", "wrong type"),
        ({"type": "number"}, "1e999", "out of range"),
        ({"type": "number"}, "9" * 1000, "too large"),
        ({"scale": 1e10}, 1e308, "out of range"),
        ({"scale": 2}, 10**400, "out of range"),
        ({"scale": 2}, [1], "wrong type"),
        ({"type": "boolean"}, "perhaps", "wrong type"),
        ({"type": "text"}, {"a": 1}, "wrong type"),
    ],
)
def test_what_cannot_be_converted_is_counted(conversion: dict[str, Any], value: Any, reason: str) -> None:
    text = str({"v": value}).replace("'", '"').encode()
    steps = chain({"type": "convert", "fields": [{"field": "v", **conversion}]})
    (item,) = steps.apply([message(text)]).items
    assert item.message.payload == text
    assert steps.counted == {"1:convert": {reason: 1}}


def test_several_members_are_converted_and_what_other_sinks_read_stays() -> None:
    steps = chain(
        {"type": "convert", "fields": [{"field": "a", "scale": 2}, {"field": "b", "scale": 3}, {"field": "absent", "scale": 4}]}
    )
    (item,) = steps.apply([stored := message({"a": 1, "b": 1})]).items
    assert item.message.payload == b'{"a":2.0,"b":3.0}'
    assert item.original is stored


@pytest.mark.parametrize(
    ("conversion", "text"),
    [
        ({"from_unit": "celsius"}, "stand together"),
        ({"from_unit": "celsius", "to_unit": "metre"}, "is a temperature, metre a length"),
        ({"from_unit": "celsius", "to_unit": "grad"}, "'grad' is not a known unit"),
        ({"type": "text", "scale": 2}, "has no unit"),
    ],
)
def test_a_conversion_that_cannot_be_is_refused(conversion: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        plugins.find("step", "convert").Config(fields=[{"field": "a", **conversion}])
