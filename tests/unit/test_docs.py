"""The documentation is complete: every name in it exists, every feature is documented, and every link resolves.

Covers: docs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from edgerouter import plugins
from edgerouter.config.admin import AdminConfig
from edgerouter.config.model import LogConfig, SecretsConfig, ShutdownConfig, SinkPolicies, SpoolConfig
from edgerouter.testing import SinkConformance  # noqa: F401  (sets up the assertions of its modules before one is imported)
from edgerouter.testing.config_promises import undocumented
from support.certificates import Authority
from support.pages import CODE, DOCS, PAGES, ROOT, anchors, commands, links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not fragment or target.suffix == ".svg" or fragment in anchors(target), f"{link}: there is no such heading"


def navigated(entry: Any) -> Iterator[str]:
    """Yield the pages below an entry of the navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from navigated(inner)


def test_every_page_is_in_the_navigation_once() -> None:
    """The decisions have a list of their titles, which the site makes."""
    listed = list(navigated(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if not re.match(r"\d", page.name)}
    assert pages <= set(listed), f"add a line to `nav` in mkdocs.yml for each of {sorted(pages - set(listed))}"
    assert set(listed) <= pages, f"remove from `nav` in mkdocs.yml: {sorted(set(listed) - pages)}"
    assert len(set(listed)) == len(listed), "a page is in `nav` of mkdocs.yml twice"


def test_every_decision_has_a_unique_number_and_a_title_that_says_it() -> None:
    decisions = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    numbers = [decision.name[:3] for decision in decisions]
    assert len(set(numbers)) == len(numbers)
    for decision in decisions:
        assert decision.read_text().startswith(f"# {decision.name[:3]}: "), decision.name


# Guarantees and their tests


NAMED = re.compile(r"^ *(?:async def|def|class) (\w+)|^(\w+) = ", re.MULTILINE)
"""Functions, classes and state machines. A syntax tree of each file finds no others, and takes twenty times as long."""


def names_of_tests() -> set[str]:
    """Return the names of all test functions, test classes and state machines."""
    folders = ("tests/**/test_*.py", "tests/support/*_contract.py", "plugins/*/tests/**/test_*.py")
    return {"".join(name) for folder in folders for file in ROOT.glob(folder) for name in NAMED.findall(file.read_text())}


def test_every_test_that_the_guarantees_name_exists() -> None:
    named = set(re.findall(r"`((?:test_|Test)\w+)`", (DOCS / "explanation" / "guarantees.md").read_text()))
    assert len(named) > 40
    assert named <= names_of_tests(), f"renamed or gone: {sorted(named - names_of_tests())}"


def test_every_promise_of_the_guarantees_names_its_tests_in_the_table_at_the_end() -> None:
    prose, _, table = (DOCS / "explanation" / "guarantees.md").read_text().partition("\n## Promises and their tests\n")
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 40
    for line in rows:
        assert "`test_" in line or "`Test" in line, line
    assert not re.search(r"`(test_|Test)", prose), "names of tests interrupt a reader"


# The code of the pages


def test_the_code_of_the_plugin_page_is_that_of_the_tested_examples() -> None:
    """Every Python block is in an example as it stands."""
    page = (DOCS / "how-to" / "write-a-plugin.md").read_text()
    examples = {file.name: file.read_text() for file in (DOCS / "examples").rglob("*.py")}
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        assert any(block in code for code in examples.values()), f"not in any example:\n{block}"


PAYLOAD_KEY = "A" * 43 + "="
SIMPLEST = {
    "sources": "sources: {local: {type: mqtt, url: mqtt://localhost, topics: ['#']}}",
    "sinks": "sinks: {out: {type: stdout}}",
}


FILES = re.compile(r"\b(certificate|key_file|root_ca|ca): /[\w./-]+")
"""Fields whose files have to exist."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a file for each of the fields."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    device = authority.issue("device")
    ca = authority.certificate
    return {"certificate": device.certificate, "key_file": device.key, "root_ca": ca, "ca": ca}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_configuration_of_the_pages_is_valid(
    page: Path, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that show only sources, sinks or stores are completed with the simplest of what they lack."""
    monkeypatch.setattr("edgerouter.config.digest.ROUNDS", 1)  # what makes a guess slow is a third of the time
    for number, block in enumerate(re.findall(r"^```ya?ml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)):
        shown = set(re.findall(r"^(sources|sinks|secret_stores):", block, re.MULTILINE))
        if not shown or re.search("type: (opensearch|plantlog)", block):  # examples, and not installed
            continue
        block = block.replace("${file:/run/secrets/payload}", PAYLOAD_KEY)  # noqa: PLW2901  (a step gets no secret of a store)
        block = FILES.sub(lambda found: f"{found[1]}: {files[found[1]]}", block)  # noqa: PLW2901
        lacking = [text for section, text in SIMPLEST.items() if section not in shown]
        file = tmp_path / f"{number}.yaml"
        # a secret that is not known yet is not checked
        file.write_text("\n".join([re.sub(r"\$\{(?:file|env):[^}]*\}", "${gcp-secret-manager:x}", block), *lacking]))
        plugins.load(file, {})


# What there is, and where it is documented


def test_every_command_is_documented() -> None:
    manual = (DOCS / "how-to" / "operate.md").read_text()
    for command, _ in commands():
        group, _, inner = command.partition(" ")
        assert f"`edgerouter {group}`" in manual, f"edgerouter {command} is not in docs/how-to/operate.md"
        if inner:
            assert f"`{inner}`" in manual or f"edgerouter {command} " in manual, (
                f"edgerouter {command} is not in docs/how-to/operate.md"
            )


def test_every_command_that_the_pages_name_exists() -> None:
    known = {command.partition(" ")[0] for command, _ in commands()}
    for page in PAGES:
        for code in CODE.findall(page.read_text()):
            for name in re.findall(r"(?:^`?|[$|;&] )edgerouter ([a-z][a-z-]+)", code, re.MULTILINE):
                assert name in known, f"{page.name}: there is no command `edgerouter {name}`"


def fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for name in model.model_fields:
        yield f"{path}{name}"


@pytest.mark.parametrize("section", [SinkPolicies, SpoolConfig, AdminConfig, LogConfig, ShutdownConfig, SecretsConfig])
def test_every_field_of_the_core_is_in_the_manual(section: type[BaseModel]) -> None:
    manual = (DOCS / "reference" / "configuration.md").read_text()
    for field in fields(section):
        assert re.search(rf"^\| `(\w+\.)?{field}`", manual, re.MULTILINE), f"{section.__name__}.{field}"


OURS = {"edgerouter", *(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))}


@pytest.mark.parametrize(
    "plugin",
    [plugin for plugin in plugins.listing() if plugin.distribution in OURS],
    ids=lambda plugin: f"{plugin.kind} {plugin.name}",
)
def test_every_field_of_every_plugin_has_its_docstring(plugin: plugins.Installed) -> None:
    config = plugins.find(plugin.kind, plugin.name).Config
    assert list(undocumented(config)) == []
    assert config.__doc__, "the manual begins with it"


def test_every_state_says_what_to_do() -> None:
    from edgerouter.pipeline.status import State
    from edgerouter.spool.status import SpoolState

    manual = (DOCS / "how-to" / "operate.md").read_text()
    for word, states in (("sink", get_args(State)), ("spool", get_args(SpoolState))):
        for state in states:
            assert f"| {word} | `{state}` |" in manual
