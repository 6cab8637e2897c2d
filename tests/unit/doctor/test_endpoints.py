"""The hosts of a configuration are found once each, without credentials and paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from edgerouter import SinkConfig, plugins
from edgerouter.config.admin import AdminConfig
from edgerouter.config.model import LogConfig, RouterConfig, ShutdownConfig, SpoolConfig
from edgerouter.doctor.endpoints import endpoints
from support.pipeline import ScriptedSink, configured


def loaded(folder: Path, sinks: dict[str, object], broker: str = "mqtts://user:secret@broker.example") -> RouterConfig:
    """Load a configuration with these sinks."""
    file = folder / "edgerouter.yaml"
    source = {"type": "mqtt", "url": broker, "topics": ["#"]}
    file.write_text(yaml.safe_dump({"sources": {"local": source}, "sinks": sinks, "spool": {"path": str(folder / "spool")}}))
    return plugins.load(file, {})


class ImpliedConfig(SinkConfig):
    """Names a service by its region, and a file of authorities."""

    region: str | None = None
    ca_file: Path | None = None

    @property
    def service_urls(self) -> Sequence[str]:
        if self.region is None:
            raise ValueError("a secret is awaited")
        return (f"https://store.{self.region}.example", f"amqps://hub.{self.region}.example", "mqtts://iot.example:8884")


def test_services_that_a_configuration_implies_are_found_with_the_address_of_their_clock() -> None:
    config = RouterConfig(
        sources=(),
        sinks=(
            replace(configured(ScriptedSink), name="a", config=ImpliedConfig(region="north", ca_file=Path("/nowhere.pem"))),
            replace(configured(ScriptedSink), name="b", config=ImpliedConfig()),
        ),
        spool=SpoolConfig(type="memory", path=Path("/nowhere")), admin=AdminConfig(), log=LogConfig(), shutdown=ShutdownConfig(),
        host="host", file=None,
    )  # fmt: skip

    found = {each.address: each.dated for each in endpoints(config)}

    assert found == {
        "store.north.example:443": "https://store.north.example:443/",
        "hub.north.example:5671": "https://hub.north.example:443/",
        "iot.example:8884": "https://iot.example:443/",
    }
    assert all(each.encrypted for each in endpoints(config))


def test_hosts_of_brokers_and_web_services_are_found_once_each(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        {
            "one": {"type": "http", "url": "https://web.example/secret"},
            "two": {"type": "http", "url": "https://web.example:443/other"},
            "far": {"type": "http", "url": "http://far.example/x"},
        },
    )

    found = {each.address: each for each in endpoints(config)}

    assert set(found) == {"broker.example:8883", "web.example:443", "far.example:80"}
    assert found["broker.example:8883"].encrypted
    assert not found["broker.example:8883"].dated
    assert found["web.example:443"].dated == "https://web.example:443/"
    assert found["far.example:80"].owner == "sinks.far"
    assert "secret" not in repr(found)
