"""Prints what the changelog says about a version: `.ci/release-notes VERSION`, or `Unreleased`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parents[2] / "CHANGELOG.md"
HEADING = re.compile(r"^## \[?([^\]\s]+)\]?.*$", re.MULTILINE)


def notes(changelog: str, version: str) -> str | None:
    """Return the section of a version without its heading, or nothing if there is none."""
    headings = list(HEADING.finditer(changelog))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading[1] == version:
            end = following.start() if following else len(changelog)
            return changelog[heading.end() : end].strip() + "\n"
    return None


def main() -> None:
    """Print the notes, or end with the versions that there are."""
    if len(sys.argv) != 2:
        sys.exit("give one version: .ci/release-notes 0.1.0")
    changelog, version = CHANGELOG.read_text(), sys.argv[1].removeprefix("v")
    found = notes(changelog, version)
    if found is None or not found.strip():
        known = ", ".join(heading[1] for heading in HEADING.finditer(changelog))
        sys.exit(f"CHANGELOG.md says nothing about {version}; it has {known}")
    sys.stdout.write(found)


if __name__ == "__main__":
    main()
