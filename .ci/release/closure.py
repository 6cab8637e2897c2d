"""Packages that an installation consists of, from the metadata of this environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""SPDX identifiers of the classifiers that older packages have."""
FIELDS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License 2.0": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "MIT License": "MIT",
    "The MIT License (MIT)": "MIT",
}
"""SPDX identifiers of what stands in the free text field of older packages."""
UNKNOWN = "NOASSERTION"


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package and what it needs directly."""

    name: str
    version: str
    licence: str
    needs: tuple[str, ...]


def closure(wanted: Iterable[str]) -> list[Package]:
    """Return the packages that these requirements bring, sorted by name."""
    seen: dict[str, set[str]] = {}
    edges: dict[str, set[str]] = {}
    todo = [Requirement(line) for line in wanted]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras} - seen.setdefault(name, set())
        seen[name] |= extras
        for needed in _needs(name, extras):
            edges.setdefault(name, set()).add(canonicalize_name(needed.name))
            todo.append(needed)
    return [_package(name, tuple(sorted(edges.get(name, set()) - {name}))) for name in sorted(seen)]


def installed() -> list[Package]:
    """Return everything in this environment, sorted by name."""
    names = {canonicalize_name(found.name) for found in metadata.distributions()}
    needs = {name: {canonicalize_name(needed.name) for needed in _needs(name, {""})} for name in names}
    return [_package(name, tuple(sorted(needs[name] & names - {name}))) for name in sorted(names)]


def licence(found: metadata.Distribution) -> str:
    """Return the licence as an SPDX expression, from the newest field that has it."""
    fields = found.metadata
    if "License-Expression" in fields:
        return str(fields["License-Expression"])
    names = [
        line.rpartition(" :: ")[2] for line in fields.get_all("Classifier") or () if line.startswith("License :: OSI Approved ::")
    ]
    text = "".join(fields.get_all("License") or ()).strip()
    if known := sorted({CLASSIFIERS[name] for name in names if name in CLASSIFIERS}):
        return (" OR " if text == "Dual License" else " AND ").join(known)
    return FIELDS.get(text, text if text and " " not in text else UNKNOWN)


def _needs(name: str, extras: set[str]) -> Iterator[Requirement]:
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        if any(requirement.marker is None or requirement.marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def _package(name: str, needs: tuple[str, ...]) -> Package:
    found = metadata.distribution(name)
    return Package(name, found.version, licence(found), needs)
