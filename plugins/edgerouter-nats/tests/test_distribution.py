"""The core brings nothing of NATS; the extra does.

Covers: pyproject.toml.
"""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement


def closure(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Return the names of all distributions that pip installs for this one, as far as they are installed here."""
    found: set[str] = set()
    waiting = [(name, extras)]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        found.add(name.lower().replace("_", "-"))
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, required):
            marker = requirement.marker
            if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                continue
            following = (requirement.name, frozenset(requirement.extras))
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return found


def test_installing_the_core_alone_brings_no_package_of_nats() -> None:
    core = closure("edgerouter")
    assert "apsw" in core
    assert not [name for name in core if "nats" in name or name == "nkeys"]
    assert {"edgerouter-nats", "nats-py"} <= closure("edgerouter", frozenset({"nats"}))
