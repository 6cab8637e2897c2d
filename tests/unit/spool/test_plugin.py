"""A spool of another distribution is configured, opened and described like the built-in two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edgerouter import plugins
from edgerouter.cli.schema import installed_configs
from edgerouter.cli.spool import ask
from edgerouter.config import spool_section
from edgerouter.config.describe import effective, manual, schema
from edgerouter.config.model import RouterConfig
from edgerouter.errors import ConfigurationError
from support.spool_plugin import remote_spool

PASSWORD = "hunter2-of-the-remote-log"
REST = "sources: {local: {type: mqtt, url: mqtt://b, topics: [a]}}\nsinks: {out: {type: stdout}}\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "site").mkdir()
    with remote_spool(tmp_path / "site"):
        yield tmp_path


def written(folder: Path, spool: str) -> Path:
    file = folder / "edgerouter.yaml"
    file.write_text(f"{REST}spool: {spool}\n")
    return file


def load(folder: Path, spool: str, environ: dict[str, str] | None = None) -> RouterConfig:
    return plugins.load(written(folder, spool), environ or {})


async def test_the_spool_of_a_plugin_is_opened_with_its_own_fields(site: Path) -> None:
    config = load(site, f"{{type: remote, server: here, path: {site}/spool}}")
    async with plugins.open_spool(config.spool, config.host) as spool:
        assert spool.status.messages == 0
    assert plugins.find("spool", "remote").opened == [("here", config.host, False)]


def test_variables_set_the_fields_of_a_plugin(site: Path) -> None:
    config = load(site, "{type: remote}", {"EDGEROUTER__SPOOL__SERVER": "there"})
    assert config.spool.model_dump()["server"] == "there"


@pytest.mark.parametrize(
    ("spool", "problem"),
    [
        ("{type: remote}", "spool.server: is missing"),
        ("{type: remote, server: a, servr: b}", "spool.servr: unknown key; did you mean 'server'?"),
        ("{type: remote, server: a, max_messages: 5}", "spool.max_messages: unknown key"),
        ("{type: remote, server: '${vault:x}'}", "spool.server: ${vault:...} works only in the own fields of a source or sink"),
        ("{type: remotee, server: a}", "spool.type: no spool 'remotee' is installed; did you mean 'remote'?"),
        ("{type: memry}", "spool.type: no spool 'memry' is installed; did you mean 'memory'?"),
        ("{type: 5}", "spool.type: should be 'sqlite' or 'memory'"),
    ],
)
def test_what_is_wrong_with_the_section_is_one_line(site: Path, spool: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(site, spool)
    (found,) = caught.value.problems
    assert problem in found


def test_the_description_of_a_configuration_shows_the_fields_and_no_secret(site: Path) -> None:
    config = load(site, f"{{type: remote, server: here, password: {PASSWORD}}}")
    shown = effective.as_yaml(config)
    assert "server: here" in shown
    assert PASSWORD not in shown
    assert PASSWORD not in repr(config)


def test_the_schema_takes_the_fields_of_the_type_that_is_written(site: Path) -> None:
    built = schema.build(installed_configs())
    check = Draft202012Validator(built)
    rest = {"sources": {"s": {"type": "mqtt", "url": "mqtt://b", "topics": ["a"]}}, "sinks": {"k": {"type": "stdout"}}}

    def valid(spool: dict[str, Any]) -> bool:
        return not list(check.iter_errors({**rest, "spool": spool}))

    assert json.dumps(built)
    assert valid({"path": "/x"})
    assert valid({"type": "memory", "max_messages": 5})
    assert valid({"type": "remote", "server": "a"})
    assert not valid({"type": "remote", "server": "a", "synchronous": "full"})
    assert not valid({"type": "sqlite", "server": "a"})
    assert not valid({"type": "other"})


def test_the_manual_of_the_distribution_has_the_fields(site: Path) -> None:
    page = manual.write_plugins({"spool": {"remote": plugins.find("spool", "remote").Config}})
    assert "## `spool`: `type: remote`" in page
    assert "| `server` | Address of the log. | text | required |  |" in page


def test_a_command_opens_the_spool_by_itself_and_says_so(site: Path) -> None:
    spool = spool_section.read(written(site, f"{{type: remote, server: here, path: {site}/spool}}"), {}, plugins.find)
    assert not ask(spool, "verify")["problems"]
    assert plugins.find("spool", "remote").opened[-1][2] is True


def test_a_running_router_is_found_without_the_secrets_of_its_spool(site: Path) -> None:
    file = written(site, f"{{type: remote, server: a, password: '${{env:NOT_SET}}', path: {site}/spool}}")
    spool = spool_section.read(file, {}, plugins.find)
    assert spool.path == site / "spool"
    with pytest.raises(ConfigurationError, match=r"spool\.password: \$\{env:NOT_SET\}: the variable is not set"):
        ask(spool, "verify")
