"""Lists the requirements of an image for some extras, from the pyproject files: third-party, or local folders."""  # noqa: INP001  (a script)

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?")


def projects() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Return this repository's distributions by name, each with its folder."""
    files = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    tables = [(file.parent, tomllib.loads(file.read_text())["project"]) for file in files]
    return {table["name"]: (folder, table) for folder, table in tables}


def walk(name: str, extras: set[str], ours: dict[str, tuple[Path, dict[str, Any]]], seen: set[str]) -> Iterator[str]:
    """Yield third-party requirements of a distribution and of the local ones it needs; `seen` collects the local names."""
    project = ours[name][1]
    optional = project.get("optional-dependencies", {})
    unknown = extras - set(optional)
    if unknown:
        sys.exit(f"{name} has no extra {', '.join(sorted(unknown))}; there are {', '.join(sorted(optional))}")
    # an extra of a distribution already processed adds only its own requirements
    wanted = [] if name in seen else list(project.get("dependencies", []))
    seen.add(name)
    for requirement in wanted + [item for extra in sorted(extras) for item in optional[extra]]:
        found = REQUIREMENT.match(requirement)
        assert found is not None, requirement
        other = found[1].lower().replace("_", "-").replace(".", "-")
        further = {extra.strip() for extra in (found[2] or "").split(",")} - {""}
        if other not in ours:
            yield requirement
        elif other not in seen or further:
            yield from walk(other, further, ours, seen)


def main() -> None:
    """Print `requirements.py third-party|folders EXTRAS`, extras separated by commas; none means the core alone."""
    what, extras = sys.argv[1], set(sys.argv[2].replace(",", " ").split())
    ours = projects()
    seen: set[str] = set()
    third_party = sorted(set(walk("edgerouter", extras, ours, seen)))
    lines = third_party if what == "third-party" else sorted(str(ours[name][0]) for name in seen)
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
