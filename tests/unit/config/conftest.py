"""Fixtures for tests of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.configuration_file import Here
from support.distributions import installed_plugins


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """Return the folder of a configuration that may name the plugins of the tests."""
    site = tmp_path / "site"
    site.mkdir()
    with installed_plugins(site):
        yield Here(tmp_path, monkeypatch)
