"""One name gives all names of a plugin, and a bad one is refused with its cure."""

from __future__ import annotations

import keyword
import re

import pytest

from edgerouter.cli.new_plugin.naming import LONGEST, Kind, naming_of
from edgerouter.errors import ConfigurationError


@pytest.mark.parametrize("chosen", ["acme-cloud", "Acme Cloud", "acme_cloud", "edgerouter-acme-cloud", " acme.cloud "])
def test_spellings_of_a_name_are_one_name(chosen: str) -> None:
    naming = naming_of("sink", chosen)
    assert (naming.name, naming.distribution, naming.package, naming.stem) == (
        "acme-cloud", "edgerouter-acme-cloud", "edgerouter_acme_cloud", "AcmeCloud",
    )  # fmt: skip


@pytest.mark.parametrize(
    "chosen", ["", "3com", "acme--", "-acme", "größe", "a/b", "../acme", "acme\n;", "x" * (LONGEST + 1), "edgerouter-"]
)
def test_a_name_that_cannot_be_one_is_refused_with_an_example(chosen: str) -> None:
    with pytest.raises(ConfigurationError, match="such as acme-cloud"):
        naming_of("sink", chosen)


def test_a_refused_name_is_shown_in_part() -> None:
    with pytest.raises(ConfigurationError) as refused:
        naming_of("sink", "x" * 100_000)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("kind", "chosen", "reason"),
    [
        ("sink", "null", "YAML reads `type: null` as a missing value"),
        ("source", "Testo", "pytest would take the class TestoConfig for a test"),
        ("sink", "sink", "SinkConfig is a class of edgerouter itself"),
        ("source", "source", "SourceConfig is a class of edgerouter itself"),
        ("step", "step", "StepConfig is a class of edgerouter itself"),
        ("secret-store", "secret", "SecretStore is a class of edgerouter itself"),
        ("secret-store", "secret-store", "SecretStoreConfig is a class of edgerouter itself"),
    ],
)
def test_a_name_whose_plugin_would_not_pass_its_checks_is_refused_with_the_reason(kind: Kind, chosen: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"{reason}; put a word in front, such as acme-{chosen.lower()}")):
        naming_of(kind, chosen)


@pytest.mark.parametrize("chosen", ["class", "import", "none", "edgerouter", "typing", "asyncio", "true", "on", "x", "a-1", "src"])
def test_words_of_python_and_yaml_are_names_like_others(chosen: str) -> None:
    """None of them becomes the name of a module or a class by itself, and the router reads `type: on` as text."""
    naming = naming_of("source", chosen)
    assert naming.package == f"edgerouter_{naming.name.replace('-', '_')}"
    assert not keyword.iskeyword(f"{naming.stem}Source")


@pytest.mark.parametrize("chosen", ["aws", "Azure", "edgerouter-nats"])
def test_a_distribution_of_ours_is_not_made_again(chosen: str) -> None:
    with pytest.raises(ConfigurationError, match="of edgerouter itself"):
        naming_of("sink", chosen)


def test_the_plugin_requires_the_versions_that_keep_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until 1.0 the minor version may change it, after that the major version."""
    monkeypatch.setattr("edgerouter.__version__", "0.7.3")
    assert naming_of("step", "acme").placeholders["requires"] == ">=0.7,<0.8"
    monkeypatch.setattr("edgerouter.__version__", "2.3.0rc1")
    assert naming_of("step", "acme").placeholders["requires"] == ">=2.3,<3"
