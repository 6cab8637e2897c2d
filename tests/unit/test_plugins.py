"""Plugins are found by name, lazily and loudly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from edgerouter import PluginError, Sink, plugins
from edgerouter.config.model import PluginKind
from edgerouter.extras import install_command
from support.distributions import ENTRY_POINTS, PLUGINS, install, on_path

SINKS = "edgerouter.sinks"
METHODS = """
    @classmethod
    def open(cls, config, context): pass
    async def write(self, batch): pass
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    with on_path(tmp_path):
        yield tmp_path


def fault(kind: PluginKind, name: str) -> str:
    with pytest.raises(PluginError) as caught:
        plugins.find(kind, name)
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_only_the_plugin_that_is_named_is_imported(site: Path) -> None:
    install(site, "one", "plugin_one", PLUGINS, {SINKS: {"queue": "{module}:QueueSink"}})
    install(site, "two", "plugin_two", "raise RuntimeError('imported')", {SINKS: {"bomb": "{module}:Bomb"}})

    found = plugins.find("sink", "queue")

    assert issubclass(found, Sink)
    assert "plugin_one" in sys.modules
    assert "plugin_two" not in sys.modules


def test_the_listing_says_who_brings_what_and_imports_nothing(site: Path) -> None:
    install(site, "dist-one", "plugin_one", "raise RuntimeError('imported')", ENTRY_POINTS, version="2.5")

    mine = [plugin for plugin in plugins.listing() if plugin.distribution == "dist-one"]

    assert [(plugin.kind, plugin.name, plugin.version, plugin.target) for plugin in mine] == [
        ("source", "feed", "2.5", "plugin_one:FeedSource"),
        ("sink", "queue", "2.5", "plugin_one:QueueSink"),
        ("secret_store", "safe", "2.5", "plugin_one:Safe"),
        ("secret_store", "vault", "2.5", "plugin_one:Vault"),
    ]


def test_built_ins_come_in_by_the_same_door() -> None:
    ours = {(plugin.kind, plugin.name) for plugin in plugins.listing() if plugin.distribution == "edgerouter"}
    assert {("source", "mqtt"), ("sink", "file"), ("sink", "stdout")} <= ours


def test_a_misspelt_name_is_answered_with_the_nearest_one(site: Path) -> None:
    install(site, "one", "plugin_one", PLUGINS, {SINKS: {"queue": "{module}:QueueSink"}})
    assert fault("sink", "qeue") == "no sink 'qeue' is installed; did you mean 'queue'?"


def test_a_name_that_is_like_no_other_is_answered_with_what_there_is() -> None:
    assert "; installed: " in fault("sink", "zzzzzz")


def test_a_plugin_of_an_extra_that_is_not_installed_comes_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)  # what was found before does not count
    monkeypatch.setattr(metadata, "entry_points", lambda **_: metadata.EntryPoints(()))
    real, required = metadata.distribution, metadata.requires

    def distribution(name: str) -> metadata.Distribution:
        if name in ("edgerouter-aws", "edgerouter-nats"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    monkeypatch.setattr(metadata, "requires", lambda name: [*(required(name) or []), "edgerouter-nats; extra == 'nats'"])
    assert fault("spool", "jetstream") == f"no spool 'jetstream' is installed; {install_command('nats')} brings it"
    for kind in ("sink", "source"):
        assert fault(kind, "nats-jetstream").endswith(f"; {install_command('nats')} brings the nats-* plugins")
    assert install_command("aws") in fault("sink", "aws-sqs")
    assert "pip install" not in fault("sink", "kafka-topic")
    assert "pip install" not in fault("sink", "demo-sink"), "an extra that brings no plugins"


def test_a_plugin_that_cannot_be_imported_names_its_distribution_and_the_cause(site: Path) -> None:
    install(site, "broken-dist", "plugin_broken", "import no_such_module_anywhere", {SINKS: {"broken": "{module}:Sink"}})
    text = fault("sink", "broken")
    assert "broken-dist 1.0" in text
    assert "no_such_module_anywhere" in text


def test_a_plugin_without_the_class_it_promises_names_its_distribution(site: Path) -> None:
    install(site, "empty-dist", "plugin_empty", "", {SINKS: {"empty": "{module}:Missing"}})
    text = fault("sink", "empty")
    assert "empty-dist 1.0" in text
    assert "Missing" in text


def test_a_name_that_is_installed_twice_names_both_distributions_and_imports_neither(site: Path) -> None:
    install(site, "first-dist", "plugin_first", PLUGINS, {SINKS: {"queue": "{module}:QueueSink"}})
    install(site, "second-dist", "plugin_second", PLUGINS, {SINKS: {"queue": "{module}:QueueSink"}}, version="3.0")
    assert "first-dist 1.0 and second-dist 3.0" in fault("sink", "queue")
    assert not {"plugin_first", "plugin_second"} & set(sys.modules)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("class Thing: pass", "is not a subclass of edgerouter.Sink"),
        ("Thing = 3", "is not a subclass of edgerouter.Sink"),
        ("from edgerouter import Sink\nclass Thing(Sink):\n    pass", "does not implement open, write"),
        (
            "from edgerouter import Sink, SourceConfig\nclass Thing(Sink[SourceConfig]):" + METHODS,
            "not a subclass of edgerouter.SinkConfig",
        ),
        (
            "from edgerouter import Sink\nclass Thing(Sink):" + METHODS,
            "does not name its configuration: derive it from Sink[ItsConfig]",
        ),
    ],
)
def test_what_is_not_a_sink_is_refused_when_it_is_loaded(site: Path, code: str, reason: str) -> None:
    install(site, "odd-dist", "plugin_odd", code, {SINKS: {"odd": "{module}:Thing"}})
    text = fault("sink", "odd")
    assert reason in text
    assert "odd-dist 1.0" in text


@pytest.mark.parametrize("field", ["timeout: float = 1", "type: str = 'x'", "mine: int = Field(1, alias='batch')"])
def test_a_field_that_collides_with_what_every_sink_has_is_refused(site: Path, field: str) -> None:
    code = (
        "from pydantic import Field\nfrom edgerouter import Sink, SinkConfig\n"
        f"class C(SinkConfig):\n    {field}\nclass Thing(Sink[C]):{METHODS}"
    )
    install(site, "odd-dist", "plugin_odd", code, {SINKS: {"odd": "{module}:Thing"}})
    assert "collides with what every sink has" in fault("sink", "odd")


def test_looking_for_plugins_leaves_no_cache_behind_even_without_a_home(tmp_path: Path) -> None:
    code = "from edgerouter import plugins; plugins.names('sink'); plugins.find('sink', 'stdout'); plugins.listing()"
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment, timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_a_load_reads_the_installed_packages_once_however_many_sources_and_sinks_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "edgerouter.yaml"
    sinks = "".join(f"  s{number}: {{type: stdout}}\n" for number in range(20))
    path.write_text(f'sources: {{local: {{type: mqtt, url: "mqtt://localhost", topics: ["#"]}}}}\nsinks:\n{sinks}')
    scans = 0
    entry_points = metadata.entry_points

    def counted(**selection: Any) -> Any:
        nonlocal scans
        scans += 1
        return entry_points(**selection)

    monkeypatch.setattr(metadata, "entry_points", counted)
    monkeypatch.syspath_prepend(tmp_path)  # what was found before does not count
    config = plugins.load(path, {})

    assert len(config.sinks) == 20
    assert scans == 1, "a scan of all installed packages for each sink makes `check` slow, and one for each kind the start"


def test_a_plugin_that_is_installed_while_the_router_runs_is_found(site: Path) -> None:
    assert "queue" not in plugins.names("sink")
    install(site, "one", "plugin_one", PLUGINS, {SINKS: {"queue": "{module}:QueueSink"}})
    assert "queue" in plugins.names("sink")
