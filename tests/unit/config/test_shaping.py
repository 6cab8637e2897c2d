"""The section `tests` is read like every other one, with each mistake at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgerouter import ConfigurationError, plugins
from edgerouter.config.shaping import ShapingTest, payload_of

HEAD = """\
sources: {s: {type: mqtt, url: "mqtt://127.0.0.1", topics: ["#"]}}
sinks: {out: {type: stdout}}
"""


def read(folder: Path, tests: str) -> tuple[ShapingTest, ...]:
    file = folder / "edgerouter.yaml"
    file.write_text(f"{HEAD}tests:\n{tests}")
    return plugins.load(file, {}).tests


def problems(folder: Path, tests: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(folder, tests)
    return [problem.removeprefix(f"{folder}/") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        ("21.5", b"21.5"),
        (21.5, b"21.5"),
        ({"a": [None, True]}, b'{"a":[null,true]}'),
        ({"base64": "/w=="}, b"\xff"),
        (None, b"null"),
    ],
)
def test_a_text_is_a_payload_as_it_stands_and_anything_else_is_json(value: Any, payload: bytes) -> None:
    assert payload_of(value) == payload


def test_a_test_is_read_with_its_messages(tmp_path: Path) -> None:
    (test,) = read(tmp_path, "  - {name: n, sink: out, input: [{topic: a/b, payload: {x: 1}, at: 2m}], expect: []}\n")
    assert (test.name, test.sink, test.expect, test.expect_filtered) == ("n", "out", (), None)
    assert [(given.topic, given.payload, given.at) for given in test.input] == [("a/b", {"x": 1}, 120.0)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "sink: oot, input: [{topic: a, payload: 1}], expect: []",
            "4:21: tests[0].sink: no sink 'oot' is configured; did you mean 'out'?",
        ),
        ("sink: out, input: [{topic: a, payload: 1}], expct: []", "4:59: tests[0].expct: unknown key; did you mean 'expect'?"),
        ("sink: out, input: [{topic: 'a/#', payload: 1}], expect: []", "4:42: tests[0].input[0].topic: "),
        ("sink: out, input: [{topic: a, payload: {base64: '%'}}], expect: []", "4:54: tests[0].input[0].payload: is not base64: "),
        ("sink: out, input: [], expect: []", "4:33: tests[0].input: "),
    ],
)
def test_what_is_wrong_is_shown_at_its_place(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(tmp_path, f"  - {{name: n, {text}}}\n")
    assert any(line.startswith(f"edgerouter.yaml:{problem}") for line in found), found


def test_something_else_than_a_list_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, "  a: 1\n") == ["edgerouter.yaml:4:3: tests: should be a list"]
