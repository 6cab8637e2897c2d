"""A preset of a distribution sets up sources and sinks from the variables of another system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from edgerouter import ConfigurationError, plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.config.model import RouterConfig
from edgerouter.extras import install_command
from edgerouter.variables import FromVariable, Preset, Variables


def bridge(given: Mapping[str, str]) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Make a source, and a sink with a secret, of three variables."""
    if given.get("BRIDGE_ON") != "yes":
        return {}
    if "BRIDGE_TO" not in given:
        raise ValueError("BRIDGE_TO: is missing; set it to the broker to send to")
    sink = {
        "type": "mqtt",
        "url": FromVariable("BRIDGE_TO", f"mqtt://{given['BRIDGE_TO']}"),
        "username": "bridge",
        "password": FromVariable("BRIDGE_KEY", given.get("BRIDGE_KEY", ""), secret=True),
        "topic": "${not-a-reference}",
    }
    return {"sources": {"here": {"type": "mqtt", "url": "mqtt://here", "topics": ["#"]}}, "sinks": {"there": sink}}


class WithBridge:
    """The installed plugins, and a distribution with a preset."""

    find, names = staticmethod(plugins.find), staticmethod(plugins.names)

    def variables(self) -> list[Variables]:
        return list(plugins.variables())

    def presets(self) -> list[Preset]:
        return [Preset("bridge", ("BRIDGE_ON", "BRIDGE_TO", "BRIDGE_KEY", "SAFE"), bridge, generic=("SAFE",))]


def load(**environ: str) -> RouterConfig:
    return CloudBlock(environ).load(WithBridge())


def problems(**environ: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load(**environ)
    return "\n".join(raised.value.problems)


ON = {"BRIDGE_ON": "yes", "BRIDGE_TO": "cloud.example", "BRIDGE_KEY": "geheim"}


def test_it_makes_a_source_and_a_sink_whose_values_name_their_variables() -> None:
    with pytest.raises(ConfigurationError, match=r"sinks.there.topic: .*not-a-reference"):
        load(**ON)  # a template, read as it stands: no reference
    config = load(**ON, EDGEROUTER__SINKS__THERE__TOPIC="up/{topic}")
    assert [source.name for source in config.sources] == ["here"]
    assert [sink.name for sink in config.sinks] == ["there"]
    assert config.origins["sinks.there.url"] == "BRIDGE_TO"
    assert config.references["sinks.there.password"] == "BRIDGE_KEY"
    assert "geheim" not in repr(config)


def test_an_invalid_value_is_reported_with_its_variable_and_not_shown_where_it_is_secret() -> None:
    assert problems(**ON | {"BRIDGE_TO": "ftp://x"}).startswith("BRIDGE_TO: sinks.there.url: ")
    assert "BRIDGE_TO: is missing" in problems(BRIDGE_ON="yes")
    assert "BRIDGE_KEY: stands in quotes" in problems(**ON | {"BRIDGE_KEY": "'geheim'"})
    assert "geheim" not in problems(**ON | {"BRIDGE_TO": "ftp://x"})


def test_a_preset_that_is_off_makes_nothing() -> None:
    assert "at least one source is needed" in problems(BRIDGE_ON="no")


def test_a_misspelt_name_is_reported_unless_other_programs_use_it() -> None:
    on = {**ON, "EDGEROUTER__SINKS__THERE__TOPIC": "up"}
    assert load(**on, BRIDGE_KEYS="x").unread == ()  # the variable itself is set, so this one is another
    assert "BRIDGE_TOO is not read; did you mean BRIDGE_TO?" in problems(BRIDGE_ON="no", BRIDGE_TOO="x")
    assert load(**on, SAVE="x").unread == ()


def test_a_preset_of_a_distribution_that_is_not_installed_is_named_with_what_to_install() -> None:
    assert install_command("cloudsync") in problems(CLOUD_SYNC="true")
