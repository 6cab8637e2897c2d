"""A step refuses values out of files, which may be secret, where they would get into messages."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from edgerouter import plugins
from edgerouter.errors import ConfigurationError

TEXT = "sources: {s: {type: mqtt, url: mqtt://b, topics: [a]}}\nsinks: {k: {type: stdout, steps: [%s]}}\n"


def write(folder: Path, step: str) -> Path:
    (folder / "secret").write_text("geheim-geheim")
    (folder / "key").write_text(base64.b64encode(bytes(32)).decode())
    file = folder / "edgerouter.yaml"
    file.write_text(TEXT % step)
    return file


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ("{type: tags, tags: {a: '${file:secret}'}}", "tags.a"),
        ("{type: set, fields: {a: ['x-${file:secret}']}}", "fields.a[0]"),
        ("{type: user_properties, properties: {a: '${file:secret}'}}", "properties.a"),
    ],
)
def test_a_file_is_refused_where_its_content_would_get_into_messages(step: str, place: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plugins.load(write(tmp_path, step), {})
    (problem,) = str(caught.value).splitlines()
    assert "edgerouter.yaml:2:" in problem
    assert f"sinks.k.steps[0].{place}: ${{file:...}} works only in a secret field of a step" in problem
    assert "geheim" not in problem


def test_a_key_may_come_out_of_a_file_and_a_tag_out_of_a_variable(tmp_path: Path) -> None:
    (sink,) = plugins.load(
        write(tmp_path, "{type: encrypt, key: '${file:key}'}, {type: tags, tags: {a: '${env:SITE}'}}"), {"SITE": "n"}
    ).sinks
    assert len(sink.steps) == 2
