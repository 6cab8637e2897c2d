"""Writes the licences of everything that an installation brings: `python -m release.licences > docs/reference/licences.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from release.closure import UNKNOWN, Package, closure
from release.distributions import distributions

EXTRAS = ("aws", "azure", "cloudsync", "gcp", "host", "nats", "sparkplug", "otel", "demo")
BRINGS = {
    "edgerouter": ("edgerouter",),
    **{f"`{extra}`": (f"edgerouter[{extra}]",) for extra in EXTRAS},
    "`edgerouter-aws[parquet]`": ("edgerouter-aws[parquet]",),
}
"""Requirements by the word of the page for them."""
STRONG = re.compile(r"\bA?GPL\b")
HEAD = """# Licences of the dependencies

edgerouter and its plugins are under the [Apache License 2.0](../../LICENSE). `make licences` writes this page from the metadata of
the packages that [constraints.txt](../../constraints.txt) names, for Linux on x86-64: what each extra brings, with its licence as
an SPDX expression. A test refuses a package that is licensed under the GPL or AGPL alone, or whose licence is unknown. Versions and
checksums are in the [bill of materials](../how-to/release.md#what-a-release-consists-of) of a release.

| package | licence | comes with |
|---|---|---|
"""


def refused(packages: Sequence[Package]) -> list[str]:
    """Return what cannot be shipped beside us: no known licence, or every choice of it a strong copyleft."""
    return [
        f"{package.name}: {package.licence}"
        for package in packages
        if package.licence == UNKNOWN or all(STRONG.search(choice) for choice in re.split(r"\bOR\b", package.licence))
    ]


def page() -> str:
    """Return the whole page."""
    ours = {distribution.name for distribution in distributions()}
    found: dict[str, tuple[Package, list[str]]] = {}
    for word, wanted in BRINGS.items():
        for package in closure(wanted):
            if package.name not in ours:
                found.setdefault(package.name, (package, []))[1].append(word)
    rows = [f"| {name} | {package.licence} | {_words(words)} |\n" for name, (package, words) in sorted(found.items())]
    return HEAD + "".join(rows)


def _words(words: Sequence[str]) -> str:
    return words[0] if words[0] == "edgerouter" else ", ".join(words)


if __name__ == "__main__":
    sys.stdout.write(page())
