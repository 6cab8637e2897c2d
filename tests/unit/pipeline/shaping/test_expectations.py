"""The tests of a configuration fail where, and only where, something else is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerouter import plugins
from edgerouter.pipeline.shaping.expectations import failures

HEAD = """\
sources: {s: {type: mqtt, url: "mqtt://127.0.0.1", topics: ["#"]}}
sinks:
  out:
    type: stdout
    topics: ["plant/#"]
    steps:
      - {type: filter, fields: [{field: t, above: 20}], on_error: dead_letter}
      - {type: convert, fields: [{field: t, from_unit: celsius, to_unit: fahrenheit}]}
  slow: {type: stdout, steps: [{type: throttle, every: 10s}]}
tests:
"""
WARM = "{topic: plant/a, payload: {t: 21.5}}"


def failed(folder: Path, *tests: str) -> list[str]:
    file = folder / "edgerouter.yaml"
    file.write_text(HEAD + "".join(f"  - {{name: it, {test}}}\n" for test in tests))
    return list(failures(plugins.load(file, {})))


@pytest.mark.parametrize(
    "test",
    [
        f"sink: out, input: [{WARM}], expect: [{{topic: plant/a, payload: {{t: 70.7}}}}]",
        f"sink: out, input: [{WARM}], expect: [{{payload: '{{\"t\": 70.70}}'}}], expect_filtered: 0",
        "sink: out, input: [{topic: plant/a, payload: {t: 3}}], expect: [], expect_filtered: 1",
        "sink: out, input: [{topic: plant/a, payload: hot}], expect: [], expect_filtered: 0, expect_dead_letters: 1",
        "sink: out, input: [{topic: x, payload: 3}], expect: [], expect_filtered: 0",
        "sink: slow, input: [{topic: x, payload: a}, {topic: x, payload: b, at: 9s}], expect: [{payload: a}]",
        "sink: slow, input: [{topic: x, payload: a}, {topic: x, payload: b, at: 10s}], expect: [{payload: a}, {payload: b}]",
    ],
)
def test_a_test_holds_whose_messages_are_sent(tmp_path: Path, test: str) -> None:
    assert failed(tmp_path, test) == []


@pytest.mark.parametrize(
    ("test", "difference"),
    [
        (
            f"input: [{WARM}], expect: [{{payload: {{t: 70}}}}]",
            'tests[0].expect[0].payload: \'it\': sent {"t":70.7}, expected {"t":70}',
        ),
        (f"input: [{WARM}], expect: [{{payload: {{t: true}}}}]", "tests[0].expect[0].payload: 'it': sent"),
        (f"input: [{WARM}], expect: [{{topic: b, payload: 1}}]", "tests[0].expect[0].topic: 'it': sent to 'plant/a', expected 'b'"),
        (f"input: [{WARM}], expect: []", "tests[0].expect: 'it': plant/a {\"t\":70.7} is sent too"),
        (
            "input: [{topic: x, payload: 1}, {topic: plant/a, payload: {t: 1}}], expect: [{payload: 1}]",
            "tests[0].expect[0]: 'it': nothing is sent, expected 1 (topics do not match 1, 1:filter filtered 1)",
        ),
        ("input: [{topic: x, payload: 1}], expect: [], expect_filtered: 1", "tests[0].expect_filtered: 'it': 0, expected 1"),
    ],
)
def test_a_difference_is_shown_with_its_place_and_reason(tmp_path: Path, test: str, difference: str) -> None:
    (line,) = failed(tmp_path, f"sink: out, {test}")
    assert line.replace("70.69999999999999", "70.7").startswith(difference)
