"""Writes a version into every place that names it: `.ci/set-version 0.2.0`. The core's `__version__` is the one that counts."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from packaging.version import InvalidVersion, Version

from release.distributions import ROOT, VERSION_FILE


def series(number: Version) -> str:
    """Return the range of cores for a plugin of this version: until 1.0 the contract may change with the minor version."""
    if number.major:
        return f">={number.major}.{number.minor},<{number.major + 1}"
    return f">=0.{number.minor},<0.{number.minor + 1}"


def places(number: Version) -> Mapping[Path, tuple[str, str]]:
    """Return the pattern and its replacement by file; the pattern stands once in each."""
    found = {
        VERSION_FILE: (r'(?m)^__version__ = ".*"$', f'__version__ = "{number}"'),
        ROOT / "Containerfile": (r'image\.version="[^"]*"', f'image.version="{number}"'),
        ROOT / "deploy/balena/balena.yml": (r"(?m)^version: .*$", f"version: {number}"),
    }
    for file in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        # an exact version belongs to a plugin that uses the inside of the core
        exact = '"edgerouter==' in file.read_text()
        found[file] = (r'"edgerouter[=><][^"]*"', f'"edgerouter=={number}"' if exact else f'"edgerouter{series(number)}"')
    return found


def written(number: Version) -> Mapping[Path, str]:
    """Return the text of every place with this version in it."""
    texts = {}
    for file, (pattern, replacement) in places(number).items():
        texts[file], count = re.subn(pattern, replacement, file.read_text())
        assert count == 1, f"{file}: {count} places instead of one"
    return texts


def main() -> None:
    """Write all places and the bills of materials."""
    try:
        number = Version(sys.argv[1])
    except (IndexError, InvalidVersion):
        sys.exit("give a version: .ci/set-version 0.2.0")
    for file, text in written(number).items():
        file.write_text(text)
    from release import sbom  # noqa: PLC0415  (it reads the files that were just written)

    sbom.write_all()


if __name__ == "__main__":
    main()
