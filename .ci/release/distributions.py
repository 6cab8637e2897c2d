"""Distributions of this repository, read from their pyproject files."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VERSION_FILE = ROOT / "src/edgerouter/__init__.py"
VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A folder that becomes a wheel and an sdist."""

    folder: Path
    project: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the package."""
        return str(self.project["name"])

    @property
    def sbom(self) -> Path:
        """Bill of materials that the wheel carries."""
        return self.folder / "src" / f"{self.name}.cdx.json"

    @property
    def requirements(self) -> Sequence[str]:
        """Requirements of every installation."""
        return list(self.project["dependencies"])

    @property
    def extras(self) -> Mapping[str, Sequence[str]]:
        """Requirements by extra."""
        return dict(self.project.get("optional-dependencies", {}))


def distributions() -> list[Distribution]:
    """Return the core first, then the plugins."""
    files = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    return [Distribution(file.parent, tomllib.loads(file.read_text())["project"]) for file in files]


def version() -> str:
    """Return the version of all distributions, from the one place that has it."""
    found = VERSION.search(VERSION_FILE.read_text())
    assert found is not None, VERSION_FILE
    return found[1]
