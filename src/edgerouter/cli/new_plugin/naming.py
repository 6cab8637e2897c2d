"""Names of a new plugin: its `type` in the configuration, its distribution, package and classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Final, Literal, NamedTuple

from edgerouter.errors import ConfigurationError

Kind = Literal["sink", "source", "step", "secret-store"]

_AIOHTTP: Final = '"aiohttp>=3.11"'
_PYDANTIC: Final = '"pydantic>=2.11,<3"'

LONGEST: Final = 24
"""Characters of a name: a line of generated code still fits."""
_SHOWN: Final = 40
"""Characters of a refused name that an error shows."""
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_OURS: Final = "edgerouter"


class _Facts(NamedTuple):
    """Facts about a kind of plugin that the project file states."""

    word: str
    group: str
    """Group of its entry points."""
    target: str
    """Place of the class in the package."""
    dependencies: str


_FACTS: Final[Mapping[Kind, _Facts]] = {
    "sink": _Facts("sink", "edgerouter.sinks", "sink:{stem}Sink", f"{_AIOHTTP}, {_PYDANTIC}"),
    "source": _Facts("source", "edgerouter.sources", "source:{stem}Source", _PYDANTIC),
    "step": _Facts("step", "edgerouter.steps", "step:{stem}Step", _PYDANTIC),
    "secret-store": _Facts("secret store", "edgerouter.secret_stores", "store:{stem}Store", f"{_AIOHTTP}, {_PYDANTIC}"),
}


@dataclass(frozen=True, slots=True)
class Naming:
    """Every name that is derived from the one that the author chose.

    Args:
        kind: of the plugin.
        name: normalised, such as `acme-cloud`.
    """

    kind: Kind
    name: str

    @property
    def distribution(self) -> str:
        """Name for pip, and of the folder: `edgerouter-acme-cloud`."""
        return f"{_OURS}-{self.name}"

    @property
    def package(self) -> str:
        """Name to import: `edgerouter_acme_cloud`."""
        return self.distribution.replace("-", "_")

    @property
    def stem(self) -> str:
        """Beginning of the names of classes: `AcmeCloud`."""
        return "".join(part.capitalize() for part in self.name.split("-"))

    @property
    def target(self) -> str:
        """Place of the class in the package: `sink:AcmeCloudSink`."""
        return _FACTS[self.kind].target.format(stem=self.stem)

    @property
    def placeholders(self) -> Mapping[str, str]:
        """Values of the placeholders of a template."""
        facts = _FACTS[self.kind]
        return {
            "dependencies": facts.dependencies,
            "distribution": self.distribution,
            "group": facts.group,
            "name": self.name,
            "package": self.package,
            "requires": _compatible_versions(),
            "Stem": self.stem,
            "target": self.target,
            "word": facts.word,
        }


def naming_of(kind: Kind, chosen: str) -> Naming:
    """Return the names of a plugin: `Acme Cloud`, `acme_cloud` and `edgerouter-acme-cloud` are all `acme-cloud`.

    Raises:
        ConfigurationError: no name of a plugin can be made of it, or a distribution of ours has it.
    """
    name = re.sub(r"[\s_.-]+", "-", chosen.strip().lower()).removeprefix(f"{_OURS}-")
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        shown = repr(chosen if len(chosen) <= _SHOWN else f"{chosen[:_SHOWN]}...")
        raise ConfigurationError(
            f"{shown} cannot be the name of a plugin: use a letter, then letters, digits and single hyphens, {LONGEST} at most, "
            "such as acme-cloud"
        )
    naming = Naming(kind, name)
    if objection := _objection(naming):
        raise ConfigurationError(f"{name!r} cannot be the name of a plugin: {objection}; put a word in front, such as acme-{name}")
    if naming.distribution in _distributions_of_ours():
        raise ConfigurationError(f"{naming.distribution} is a distribution of edgerouter itself: choose another name than {name!r}")
    return naming


def _objection(naming: Naming) -> str:
    """Return the reason why a plugin of this name would not work, or not pass its checks; empty if it would."""
    from edgerouter import __all__ as contract  # noqa: PLC0415  (the names of the package load on demand)

    classes = {f"{naming.stem}Config", naming.target.rpartition(":")[2]}
    if naming.name == "null":
        return "YAML reads `type: null` as a missing value"
    if naming.stem.startswith("Test"):
        return f"pytest would take the class {min(classes)} for a test"
    if taken := sorted(classes & set(contract)):
        return f"{taken[0]} is a class of edgerouter itself"
    return ""


def _distributions_of_ours() -> set[str]:
    """Return the distributions that our extras bring."""
    try:
        lines = metadata.requires(_OURS) or []
    except metadata.PackageNotFoundError:
        return set()
    found = (re.match(r"[\w.-]+", line) for line in lines)
    return {match[0].lower() for match in found if match and match[0].startswith(f"{_OURS}-")}


def _compatible_versions() -> str:
    """Return the versions that keep the contract of this one: its minor version until 1.0, then its major version."""
    from edgerouter import __version__  # noqa: PLC0415  (the names of the package load on demand)

    major, minor = map(int, __version__.split(".")[:2])
    return f">={major}.{minor},<{major}.{minor + 1}" if major == 0 else f">={major}.{minor},<{major + 1}"
