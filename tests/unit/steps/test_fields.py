"""Steps that choose, name and set members of a JSON payload.

Covers also: edgerouter.steps.document_step, edgerouter.steps.paths, edgerouter.steps.expressions.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter import plugins
from support.steps import chain, message, shaped

READING: dict[str, Any] = {"device": "m1", "data": {"temp": 21.5, "hum": 40}, "values": [1, 2, 3], "a.b": 7}


@pytest.mark.parametrize(
    ("step", "result"),
    [
        ({"type": "pick", "fields": ["device", "data.temp", "absent"]}, {"device": "m1", "data": {"temp": 21.5}}),
        ({"type": "pick", "fields": ["values.1"]}, {"values": {"1": 2}}),
        ({"type": "pick", "fields": [r"a\.b"]}, {"a.b": 7}),
        ({"type": "drop_fields", "fields": ["values", "data.hum", "absent", r"a\.b"]}, {"device": "m1", "data": {"temp": 21.5}}),
        (
            {"type": "rename", "fields": {"data.temp": "temperature", "absent": "x"}},
            READING | {"data": {"hum": 40}, "temperature": 21.5},
        ),
        (
            {"type": "set", "fields": {"site": "north", "data.unit": "C"}},
            READING | {"site": "north", "data": READING["data"] | {"unit": "C"}},
        ),
        ({"type": "set", "fields": {"device": "x", "new": None}, "only_missing": True}, READING | {"new": None}),
        ({"type": "set", "fields": {"values.0": 9}}, READING | {"values": [9, 2, 3]}),
        ({"type": "project", "expression": "{t: data.temp, high: max(values)}"}, {"t": 21.5, "high": 3}),
    ],
)
def test_a_step_makes_a_new_document(step: dict[str, Any], result: Any) -> None:
    assert shaped(step, READING) == [result]


@pytest.mark.parametrize(
    ("step", "payload", "reason"),
    [
        ({"type": "pick", "fields": ["a"]}, b"no json", "not JSON"),
        ({"type": "pick", "fields": ["a"]}, b'{"a": NaN}', "not JSON"),
        ({"type": "pick", "fields": ["a"]}, b"[" * 100_000, "not JSON"),
        ({"type": "pick", "fields": ["a"]}, b'{"a":"' + b"x" * 1024**2 + b'"}', "too large"),
        ({"type": "pick", "fields": ["a"]}, b"[1]", "wrong type"),
        ({"type": "drop_fields", "fields": ["a"]}, b"1", "wrong type"),
        ({"type": "set", "fields": {"a.b": 1}}, b'{"a": 5}', "wrong type"),
        ({"type": "set", "fields": {"a.7": 1}}, b'{"a": [1]}', "missing field"),
        ({"type": "project", "expression": "nothing"}, b"{}", "missing field"),
        ({"type": "project", "expression": "max(a)"}, b'{"a": ["x", 1]}', "wrong type"),
        ({"type": "project", "expression": "a"}, b'{"a": [' + b",".join([b"1"] * 30_000) + b"]}", "too large"),
    ],
)
@pytest.mark.parametrize("on_error", ["pass", "drop", "dead_letter"])
def test_what_a_step_cannot_use_is_counted_and_handled_as_configured(
    step: dict[str, Any], payload: bytes, reason: str, on_error: str
) -> None:
    steps = chain(step | {"on_error": on_error})
    found = steps.apply([message(payload)])
    assert steps.counted == {f"1:{step['type']}": {reason: 1}}
    assert [item.message.payload for item in found.items] == ([payload] if on_error == "pass" else [])
    assert [each.payload for each in found.filtered] == ([payload] if on_error == "drop" else [])
    assert [item.original.payload for item, _ in found.rejected] == ([payload] if on_error == "dead_letter" else [])


def test_integers_of_any_length_and_doubled_names_survive() -> None:
    (item,) = (
        chain({"type": "set", "fields": {"site": 1}})
        .apply([message(b'{"n": 123456789012345678901234567890, "a": 1, "a": 2}')])
        .items
    )
    assert item.message.payload == b'{"n":123456789012345678901234567890,"a":2,"site":1}'


def test_a_payload_that_does_not_change_keeps_its_bytes() -> None:
    payload = b'{ "a" : 1.0 }'
    stored = message(payload)
    (item,) = chain({"type": "drop_fields", "fields": ["b"]}).apply([stored]).items
    assert item.message is stored


@pytest.mark.parametrize(
    ("kind", "config", "text"),
    [
        ("pick", {"fields": []}, "at least 1 item"),
        ("pick", {"fields": ["a..b"]}, "has an empty name"),
        ("project", {"expression": "a["}, "is not a JMESPath expression"),
        ("project", {"expression": "a" * 3000}, "at most 2000 characters"),
        ("set", {"fields": {"a": 1}, "on_error": "ignore"}, "'pass', 'drop' or 'dead_letter'"),
    ],
)
def test_a_bad_configuration_is_refused_with_its_cure(kind: str, config: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        plugins.find("step", kind).Config(**config)
