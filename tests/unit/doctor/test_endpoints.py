"""The hosts of a configuration are found once each, without credentials and paths."""

from __future__ import annotations

from pathlib import Path

import yaml

from edgerouter import plugins
from edgerouter.config.model import RouterConfig
from edgerouter.doctor.endpoints import endpoints


def configured(folder: Path, sinks: dict[str, object], broker: str = "mqtts://user:secret@broker.example") -> RouterConfig:
    """Load a configuration with these sinks."""
    file = folder / "edgerouter.yaml"
    source = {"type": "mqtt", "url": broker, "topics": ["#"]}
    file.write_text(yaml.safe_dump({"sources": {"local": source}, "sinks": sinks, "spool": {"path": str(folder / "spool")}}))
    return plugins.load(file, {})


def test_hosts_of_brokers_and_web_services_are_found_once_each(tmp_path: Path) -> None:
    config = configured(
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
    assert not found["broker.example:8883"].web
    assert found["far.example:80"].owner == "sinks.far"
    assert "secret" not in repr(found)
