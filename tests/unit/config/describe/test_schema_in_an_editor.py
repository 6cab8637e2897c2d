"""An editor with the YAML language server completes, explains and checks a configuration with the printed schema.

Covers: edgerouter.config.describe.schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from edgerouter import plugins
from edgerouter.cli.main import app
from support.yaml_language_server import Editor, editor

SOURCES = 'sources: {local: {type: mqtt, url: mqtt://localhost:1883, topics: ["a/#"]}}\n'


@pytest.fixture(scope="module")
def open_editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    file = tmp_path_factory.mktemp("schema") / "edgerouter-schema.json"
    file.write_text(CliRunner().invoke(app, ["schema"]).stdout)
    with editor(file) as opened:
        yield opened


def test_behind_type_every_installed_plugin_is_offered(open_editor: Editor) -> None:
    for section, kind in (("sinks", "sink"), ("sources", "source"), ("secret_stores", "secret_store")):
        offered = open_editor.completions(f"{section}:\n  x:\n    type: |\n")
        assert offered.keys() == set(plugins.names(kind))  # type: ignore[arg-type]


def test_the_fields_of_the_type_that_is_written_are_offered_with_their_manual(open_editor: Editor) -> None:
    offered = open_editor.completions("sinks:\n  x:\n    type: file\n    |\n")
    assert {"path", "rotate", "mode", "topics", "batch", "retry"} <= offered.keys()
    assert not {"url", "queue", "bucket"} & offered.keys()
    assert "Writes in flight at once" in json.dumps(offered["concurrency"])
    assert "Least time between two commits" in open_editor.hover("spool:\n  com|mit_interval: 20ms\n")


def test_what_the_router_takes_is_not_marked(open_editor: Editor) -> None:
    sink = "type: file, path: /data, mode: '0640', rotate: {size: 64MiB, age: 1h30m}, concurrency: '${env:WORKERS}'"
    assert open_editor.problems(f"{SOURCES}spool: {{max_bytes: 2GiB}}\nsinks: {{archive: {{{sink}}}}}\n") == []


@pytest.mark.parametrize(
    ("sink", "told"),
    [
        ("type: flie, path: /data", "Value is not accepted"),
        ("type: file, path: /data, rotate: {size: plenty}", "Incorrect type"),
        ("type: file, path: /data, timeout: 5 parsecs", "Incorrect type"),
        ("type: file, paht: /data", 'Missing property "path"'),
    ],
)
def test_a_mistake_is_marked(open_editor: Editor, sink: str, told: str) -> None:
    assert told in "\n".join(open_editor.problems(f"{SOURCES}sinks: {{archive: {{{sink}}}}}\n"))
