"""`try` prints what a sink would send, and `check` runs the tests of the configuration; neither starts anything."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from edgerouter.cli import main as command_line

CONFIG = """\
sources: {s: {type: mqtt, url: "mqtt://127.0.0.1", topics: ["#"]}}
spool: {path: spool}
sinks:
  out: {type: stdout, topics: ["plant/#"], steps: [{type: filter, fields: [{field: t, above: 20}], on_error: dead_letter}]}
"""
TESTS = """\
tests:
  - {name: warm, sink: out, input: [{topic: plant/a, payload: {t: 21}}], expect: [{payload: {t: 21}}]}
  - {name: cold, sink: out, input: [{topic: plant/a, payload: {t: 2}}], expect: [{payload: {t: 2}}]}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("edgerouter.yaml").write_text(CONFIG)


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch, given: bytes = b"") -> int:
    monkeypatch.setattr(sys, "argv", ["edgerouter", *arguments])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    return int(ended.value.code or 0)


def test_what_would_be_sent_is_on_standard_output_and_the_rest_beside_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = [{"topic": "plant/a", "payload": {"t": 30}}, {"topic": "plant/a", "payload": {"t": 3}}, {"topic": "x", "payload": 1}]
    given = "\n".join(map(json.dumps, [*lines, {"topic": "plant/a", "payload": "hot"}])).encode()
    assert run("try", "--sink", "out", monkeypatch=monkeypatch, given=given) == 0
    out, err = capfd.readouterr()
    (sent,) = map(json.loads, out.splitlines())
    assert (sent["topic"], sent["payload"]) == ("plant/a", {"t": 30})
    assert err.splitlines()[0].startswith("dead letter: try-4 plant/a: step 1:filter: not JSON")
    assert err.splitlines()[1:] == [
        "4 messages: 1 sent, 1 filtered, 1 dead-lettered, 1 not matched by the sink's `topics`",
        "  1:filter: filtered 1, not JSON 1",
    ]
    assert not Path("spool").exists()


def test_bare_payloads_of_one_topic_are_explained_step_by_step(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    given = b'{"t": 30}\n'
    assert run("try", "--sink", "out", "--topic", "plant/b", "--explain", monkeypatch=monkeypatch, given=given) == 0
    assert capfd.readouterr().err.splitlines()[:3] == ['try-1 plant/b {"t": 30}', "  1:filter: passes", "  sent as try-1"]


@pytest.mark.parametrize(
    ("options", "given", "code", "said"),
    [
        (("--sink", "uot"), b"", 2, "--sink: no sink 'uot' is configured; did you mean 'out'?"),
        (("--sink", "out", "--topic", "a/#"), b"", 2, "--topic: "),
        (("--sink", "out"), b"x", 1, "line 1: "),
    ],
)
def test_what_cannot_be_tried_has_one_line(
    options: tuple[str, ...],
    given: bytes,
    code: int,
    said: str,
    *,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run("try", *options, monkeypatch=monkeypatch, given=given) == code
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(said)


def test_a_check_fails_with_a_difference_at_its_place(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    Path("edgerouter.yaml").write_text(CONFIG + TESTS)
    assert run("check", monkeypatch=monkeypatch) == 2
    assert capfd.readouterr().err.splitlines() == [
        "edgerouter.yaml:7:96: tests[1].expect[0]: 'cold': nothing is sent, expected {\"t\":2} (1:filter filtered 1)",
        "  tests: 1 of 2 passed",
    ]


def test_a_check_says_how_many_tests_hold(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    Path("edgerouter.yaml").write_text(CONFIG + "\n".join(TESTS.splitlines()[:2]))
    assert run("check", monkeypatch=monkeypatch) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "  tests: 1 of 1 passed"
