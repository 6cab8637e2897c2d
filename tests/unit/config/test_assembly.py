"""The steps of a sink or source are assembled with it, and refused at their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerouter import plugins
from edgerouter.config.model import RouterConfig
from edgerouter.errors import ConfigurationError
from edgerouter.pipeline.shaping.sink_steps import shape_of

TEXT = """\
sources:
  s: {{type: mqtt, url: mqtt://b, topics: [a], steps: [{source}]}}
sinks:
  k: {{type: stdout, steps: [{sink}]}}
"""


def load(folder: Path, *, sink: str = "", source: str = "") -> RouterConfig:
    file = folder / "edgerouter.yaml"
    file.write_text(TEXT.format(sink=sink, source=source))
    return plugins.load(file, {})


def test_steps_stand_in_their_order(tmp_path: Path) -> None:
    config = load(tmp_path, sink="{type: split}, {type: throttle, every: 1m}", source="{type: filter, topics: [a]}")
    assert [step.type for step in config.sinks[0].steps] == ["split", "throttle"]
    assert config.sinks[0].steps[1].config.model_dump()["every"] == 60.0
    assert [step.type for step in config.sources[0].steps] == ["filter"]


def test_a_changed_step_changes_what_a_reload_compares(tmp_path: Path) -> None:
    digests = set()
    for step in ("", "{type: throttle, every: 1m}", "{type: throttle, every: 2m}"):
        digests.add(load(tmp_path, sink=step).sinks[0].digest)
    for step in ("", "{type: split}", "{type: split, field: a}"):
        digests.add(load(tmp_path, source=step).sources[0].digest)
    assert len(digests) == 6


@pytest.mark.parametrize(
    ("step", "contents"),
    [
        ("{{type: validate, schema_file: {file}}}", ("{}", '{"type": "object"}')),
        ("{{type: encrypt, key_file: {file}}}", ("A" * 43 + "=", "B" * 42 + "A=")),
    ],
)
def test_a_changed_file_of_a_step_changes_what_a_reload_compares_and_the_names_of_objects(
    step: str, contents: tuple[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    written = step.format(file=file)
    digests, shapes = [], []
    for content in (*contents, contents[0]):
        file.write_text(content)
        config = load(tmp_path, sink=written)
        digests.append(config.sinks[0].digest)
        shapes.append(shape_of(config.sinks[0]))
    assert digests[0] == digests[2] != digests[1]
    assert shapes[0] == shapes[2] != shapes[1]


def test_a_changed_file_of_a_source_s_step_changes_what_a_reload_compares(tmp_path: Path) -> None:
    file = tmp_path / "schema"
    digests = set()
    for content in ("{}", '{"type": "object"}'):
        file.write_text(content)
        step = f"{{type: validate, schema_file: {file}, on_error: drop}}"
        digests.add(load(tmp_path, source=step).sources[0].digest)
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("where", "step", "problem"),
    [
        ("sink", "{type: throtle, every: 1m}", "sinks.k.steps[0].type: no step 'throtle' is installed; did you mean 'throttle'?"),
        ("sink", "{type: throttle}", "sinks.k.steps[0].every: is missing"),
        ("sink", "{type: throttle, evry: 1m, every: 1m}", "sinks.k.steps[0].evry: unknown key; did you mean 'every'?"),
        ("sink", "{type: split}, {topics: [a]}", "sinks.k.steps[1].type: is missing"),
        ("sink", "split", "sinks.k.steps[0]: should be a mapping"),
        ("sink", "{type: tags, tags: {a: '${vault:x}'}}", "sinks.k.steps[0].tags.a: ${vault:...} works only in the own fields"),
        ("source", "{type: throttle, every: 1m}", "sources.s.steps[0].type: 'throttle' depends on earlier messages"),
        ("source", "{type: window, every: 1m}", "sources.s.steps[0].type: 'window' depends on earlier messages"),
        ("source", "{type: split, on_error: dead_letter}", "sources.s.steps[0].on_error: `on_error: dead_letter` works only"),
    ],
)
def test_a_step_that_cannot_be_is_refused_at_its_place(where: str, step: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, **{where: step})
    (found,) = [each for each in caught.value.problems if problem in each]
    assert f"edgerouter.yaml:{2 if where == 'source' else 4}:" in found
