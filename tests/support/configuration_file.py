"""A configuration file in a folder, loaded as a router loads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgerouter import ConfigurationError, plugins
from edgerouter.config.model import RouterConfig

GOOD = "sources: {s: {type: feed}}\nsinks: {k: {type: queue, queue: q}}\n"


class Here:
    """A folder with a configuration file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        self.folder = folder
        self.text = ""

    def load(self, text: str, environ: Mapping[str, str] | None = None) -> RouterConfig:
        self.text = text
        Path("edgerouter.yaml").write_text(text)
        return plugins.load(Path("edgerouter.yaml"), environ or {})

    def problems(self, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            self.load(text, environ)
        assert all("\n" not in problem for problem in caught.value.problems)
        return list(caught.value.problems)

    def sink(self, fields: str, environ: Mapping[str, str] | None = None) -> Any:
        return self.load(f"sources: {{s: {{type: feed}}}}\nsinks:\n  k: {{type: queue, {fields}}}\n", environ).sinks[0]

    def sink_problems(self, fields: str, environ: Mapping[str, str] | None = None) -> list[str]:
        return self.problems(f"sources: {{s: {{type: feed}}}}\nsinks:\n  k: {{type: queue, {fields}}}\n", environ)
