"""Commands on a spool read where it is, and nothing else of the configuration.

Covers also: edgerouter.config.spool_type.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerouter import plugins
from edgerouter.config import spool_section
from edgerouter.errors import ConfigurationError

BROKEN = """\
sources: {local: {type: no-such-plugin, password: "${env:NO_SUCH_VARIABLE}"}}
sinks: {cloud: {type: http, url: "${vault:address}", nonsense: 1}, cloud: 5}
unknown: !tag x
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "edgerouter.yaml"
    file.write_text(text)
    return file


def test_a_spool_is_found_in_a_configuration_whose_secrets_and_plugins_are_missing(tmp_path: Path) -> None:
    file = written(tmp_path, BROKEN + f"spool: {{path: {tmp_path}/spool, retain: {{age: 1h}}}}\n")
    spool = spool_section.read(file, {}, plugins.find)
    assert (spool.path, spool.retain.age) == (tmp_path / "spool", 3600)


def test_a_fault_in_a_setting_that_does_not_say_which_spool_leaves_its_default(tmp_path: Path) -> None:
    settings = 'max_bytes: plenty, on_full: "${env:NOT_SET}", cache_bytes: "${vault:cache}", nonsense: 1, dead_letter_bytes: 1MiB'
    spool = spool_section.read(written(tmp_path, f"spool: {{path: {tmp_path}/spool, {settings}}}\n"), {}, plugins.find)
    assert (spool.max_bytes, spool.on_full, spool.dead_letter_bytes) == (1024**3, "block", 1024**2)


def test_variables_and_references_name_the_spool_too(tmp_path: Path) -> None:
    file = written(tmp_path, 'spool: {path: "${env:HERE}/spool"}\n')
    assert spool_section.read(file, {"HERE": str(tmp_path)}, plugins.find).path == tmp_path / "spool"
    assert spool_section.read(file, {"EDGEROUTER__SPOOL__PATH": "/elsewhere"}, plugins.find).path == Path("/elsewhere")
    assert spool_section.read(None, {"EDGEROUTER__SPOOL__PATH": "/elsewhere", "AWS_SQS_REGION": "half"}, plugins.find).path == Path(
        "/elsewhere"
    )
    assert spool_section.read(None, {}, plugins.find).path == Path("/var/lib/edgerouter")


def test_the_folder_of_secrets_need_not_be_readable(tmp_path: Path) -> None:
    environ = {"EDGEROUTER_SECRETS_DIR": "/no/such/folder", "EDGEROUTER__SPOOL__PATH": str(tmp_path)}
    assert spool_section.read(None, environ, plugins.find).path == tmp_path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('spool: {path: "${env:NOT_SET}"}', "edgerouter.yaml:1:15: spool.path: ${env:NOT_SET}: the variable is not set"),
        ('spool: {path: "${vault:path}"}', "edgerouter.yaml:1:15: spool.path: a secret store is not asked for it; use ${env:NAME}"),
        ("spool: {type: postgres}", "edgerouter.yaml:1:15: spool.type: no spool 'postgres' is installed"),
        ("spool: here", "edgerouter.yaml:1:8: spool: should be a mapping"),
        ("spool: {path: [", "edgerouter.yaml:2:1: not YAML"),
    ],
)
def test_a_spool_that_cannot_be_found_is_one_line_and_how_to_go_without(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        spool_section.read(written(tmp_path, text + "\n"), {}, plugins.find)
    first, hint = raised.value.problems
    assert first.startswith(f"{tmp_path}/{told}")
    assert "--spool FOLDER" in hint


def test_a_file_named_as_the_spool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--spool: .*edgerouter\.yaml is not a folder"):
        spool_section.at(written(tmp_path, ""))


def test_every_configured_sink_is_known_by_name_whether_or_not_it_could_be_opened(tmp_path: Path) -> None:
    file = written(tmp_path, BROKEN)
    assert spool_section.sink_names(file, {"EDGEROUTER__SINKS__OTHER__TYPE": "http"}) == {"cloud", "other"}
    assert spool_section.sink_names(None, {"EDGEROUTER__SINKS__OTHER__TYPE": "http"}) == {"other"}
