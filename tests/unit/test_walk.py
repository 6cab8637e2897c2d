"""Sources and sinks are started from the configuration that names them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edgerouter import plugins
from support.admin_api import box
from support.distributions import installed_plugins
from support.pipeline import until


async def test_a_sink_of_a_changed_configuration_reads_its_secrets_from_the_stores_of_that_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    with installed_plugins(site):
        monkeypatch.setattr(plugins.find("secret_store", "vault"), "secrets", {"name": "readings"})
        async with box(tmp_path) as running:
            config = yaml.safe_load(running.file.read_text())
            config["secret_stores"] = {"vault": {"type": "vault"}}
            config["sinks"]["late"] = {"type": "queue", "queue": "${vault:name}"}
            running.file.write_text(yaml.safe_dump(config))
            await running.change("/api/v1/reload")
            await running.publish("plant", b"21.5")
            await until(lambda: running.router.status().sinks["late"].delivered == 1, 10)
