"""Find a source, sink, step, secret store or spool by name; only the plugin that is named is imported."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from stevedore.driver import DriverManager

from edgerouter.config.file_search import Fingerprint, fingerprint
from edgerouter.config.loading import load as load_with
from edgerouter.config.model import PluginKind, RouterConfig, SinkPolicies, SourcePolicies, SpoolConfig, SpoolSection
from edgerouter.config.spool_type import BUILT_IN
from edgerouter.errors import PluginError
from edgerouter.extras import install_command
from edgerouter.secrets import SecretStore, SecretStoreConfig
from edgerouter.sink import Sink, SinkConfig
from edgerouter.source import Source, SourceConfig
from edgerouter.spool import open_spool as open_built_in
from edgerouter.spool.contract import Spool
from edgerouter.spool.plugin import SpoolContext, SpoolPlugin
from edgerouter.step import Step, StepConfig

if TYPE_CHECKING:
    from edgerouter.variables import Preset, Variables

_OURS: Final = "edgerouter"

_GROUPS: Final[Mapping[PluginKind, str]] = {
    "source": "edgerouter.sources",
    "sink": "edgerouter.sinks",
    "step": "edgerouter.steps",
    "secret_store": "edgerouter.secret_stores",
    "spool": "edgerouter.spools",
}
_CONTRACTS: Final[Mapping[PluginKind, tuple[type[Any], type[BaseModel]]]] = {
    "source": (Source, SourceConfig),
    "sink": (Sink, SinkConfig),
    "step": (Step, StepConfig),
    "secret_store": (SecretStore, SecretStoreConfig),
    "spool": (SpoolPlugin, SpoolSection),
}
_RESERVED: Final[Mapping[PluginKind, frozenset[str]]] = {
    "source": frozenset({"type", *SourcePolicies.model_fields}),
    "sink": frozenset({"type", *SinkPolicies.model_fields}),
    "step": frozenset({"type"}),
    "secret_store": frozenset({"type"}),
    "spool": frozenset(),
}
_VARIABLES: Final = "edgerouter.variables"
_BROUGHT_BY: Final[Mapping[str, str]] = {"jetstream": "nats"}
"""Extras of our distribution by the name of a plugin that does not begin with theirs."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed plugin; listing it imports nothing of it."""

    name: str
    kind: PluginKind
    distribution: str
    version: str
    target: str
    """Its place: `module:Class`."""


class _Driver(DriverManager[Any]):
    """stevedore's driver of an entry point that was found, without its cache of entry points.

    The cache is a file under `~/.cache` (a folder named `~` where there is no home), and its key takes modification times at a
    resolution of two minutes, so a plugin that was just installed again could be missed.
    """

    def __init__(self, point: metadata.EntryPoint) -> None:
        self._point = point
        super().__init__(point.group, point.name)

    def list_entry_points(self) -> list[metadata.EntryPoint]:
        return [self._point]


def _points(group: str) -> Sequence[metadata.EntryPoint]:
    """Return the entry points of a group. The distributions are read once, and again when one comes or goes."""
    return tuple(_scan(tuple([(folder, fingerprint(Path(folder))) for folder in sys.path]))(group=group))


@lru_cache(maxsize=1)
def _scan(_folders: tuple[tuple[str, Fingerprint | None], ...]) -> Callable[..., Iterable[metadata.EntryPoint]]:
    """Return the function that selects from all entry points: reading them takes longer than a selection."""
    return metadata.entry_points().select


def listing() -> Sequence[Installed]:
    """Return every installed plugin, by kind and name; nothing is imported."""
    return sorted(
        (
            Installed(point.name, kind, *_distribution(point), point.value)
            for kind, group in _GROUPS.items()
            for point in _points(group)
        ),
        key=lambda installed: (list(_GROUPS).index(installed.kind), installed.name, installed.distribution),
    )


def names(kind: PluginKind) -> Sequence[str]:
    """Return the names of the installed plugins of a kind."""
    return sorted({point.name for point in _points(_GROUPS[kind])})


def find(kind: PluginKind, name: str) -> type[Any]:
    """Return the plugin class of that name.

    Raises:
        PluginError: it is missing, broken, installed twice, or not a plugin of that kind.
    """
    points = [point for point in _points(_GROUPS[kind]) if point.name == name]
    if not points:
        raise PluginError(_missing(kind, name))
    if len(points) > 1:
        owners = " and ".join(sorted({_owner(point) for point in points}))
        raise PluginError(f"the {_word(kind)} {name!r} is installed by {owners}; uninstall one of them")
    try:
        plugin: Any = _Driver(points[0]).driver
    except Exception as error:
        # the import may raise anything; the user needs to know whose module it is
        raise PluginError(f"the {_word(kind)} {name!r} of {_owner(points[0])} cannot be loaded: {_one_line(error)}") from error
    if fault := _fault(kind, plugin):
        raise PluginError(f"the {_word(kind)} {name!r} of {_owner(points[0])} is not usable: {points[0].value} {fault}")
    found: type[Any] = plugin
    return found


def variables() -> Sequence[Variables]:
    """Return the variables that every installed distribution declares; imports nothing else of it.

    Raises:
        PluginError: a declaration is broken, or not one.
    """
    return _declarations()[0]


def presets() -> Sequence[Preset]:
    """Return the presets that every installed distribution declares; raises as `variables` does."""
    return _declarations()[1]


def _declarations() -> tuple[Sequence[Variables], Sequence[Preset]]:
    from edgerouter.variables import Preset, Variables  # noqa: PLC0415  (a start with a file needs none)

    declared: list[Variables | Preset] = []
    for point in sorted(_points(_VARIABLES), key=lambda point: (point.name, _owner(point))):
        try:
            found: object = point.load()
        except Exception as error:
            # the import may raise anything; the user needs to know whose module it is
            raise PluginError(f"the variables of {_owner(point)} cannot be loaded: {_one_line(error)}") from error
        if not isinstance(found, tuple) or not all(isinstance(each, Variables | Preset) for each in found):
            fault = f"{point.value} is not a tuple of edgerouter.Variables"
            raise PluginError(f"the variables of {_owner(point)} are not usable: {fault}")
        declared += found
    return [each for each in declared if isinstance(each, Variables)], [each for each in declared if isinstance(each, Preset)]


@asynccontextmanager
async def open_spool(config: SpoolSection, host: str, *, command: bool = False) -> AsyncIterator[Spool]:
    """Open the configured spool, be it built in or a plugin's, and close it at the end.

    Args:
        config: a valid section.
        host: the device's name.
        command: a command opens the spool by itself, possibly beside routers that use it.

    Raises:
        SpoolUnusable: it cannot be opened as configured.
        PluginError: its plugin cannot be used.
    """
    if isinstance(config, SpoolConfig):
        async with open_built_in(config) as spool:
            yield spool
    else:
        async with find("spool", config.type).open(config, SpoolContext(host, command)) as spool:
            yield spool


async def examine_spool(config: SpoolSection, host: str) -> str:
    """Look whether a plugin's spool can be opened, and change nothing; raises as its `examine` does.

    Raises:
        PluginError: its plugin cannot be used.
    """
    found: str = await find("spool", config.type).examine(config, SpoolContext(host, command=True))
    return found


def load(path: Path, environ: Mapping[str, str]) -> RouterConfig:
    """Load a configuration file with the installed plugins; see `edgerouter.config.loading.load`."""
    return load_with(path, environ, sys.modules[__name__])


def _fault(kind: PluginKind, plugin: object) -> str | None:
    contract, config = _CONTRACTS[kind]
    if not isinstance(plugin, type) or not issubclass(plugin, contract):
        return f"is not a subclass of edgerouter.{contract.__name__}"
    if inspect.isabstract(plugin):
        return f"does not implement {', '.join(sorted(getattr(plugin, '__abstractmethods__', ())))}"
    own = getattr(plugin, "Config", None)
    if own is None:
        return f"does not name its configuration: derive it from {contract.__name__}[ItsConfig]"
    if not issubclass(own, config):
        return f"has a configuration that is not a subclass of edgerouter.{config.__name__}"
    taken = {
        name
        for field, info in own.model_fields.items()
        for name in (field, info.alias, info.validation_alias)
        if isinstance(name, str)
    }
    if collisions := sorted(taken & _RESERVED[kind]):
        return f"has a configuration whose field {', '.join(collisions)} collides with what every {_word(kind)} has"
    return None


def _missing(kind: PluginKind, name: str) -> str:
    text = f"no {_word(kind)} {name!r} is installed"
    known = [*names(kind), *(BUILT_IN if kind == "spool" else ())]
    if near := difflib.get_close_matches(name, known, n=1):
        text += f"; did you mean {near[0]!r}?"
    if extra := _extra(name):
        brought = "it" if name in _BROUGHT_BY else f"the {extra}-* plugins"
        text += f"; {install_command(extra)} brings {brought}"
    elif not near:
        text += f"; installed: {', '.join(known) or 'none'}"
    return text


def _extra(name: str) -> str | None:
    """Return the extra of our distribution that brings plugins with this name's prefix, if it is not installed yet."""
    prefix = _BROUGHT_BY.get(name) or name.replace("_", "-").partition("-")[0].lower()
    distribution = f"{_OURS}-{prefix}"
    try:
        required = metadata.requires(_OURS) or []
    except metadata.PackageNotFoundError:
        return None
    if not any(line.partition(";")[0].strip() == distribution for line in required):
        return None
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return prefix
    return None


def _distribution(point: metadata.EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")


def _owner(point: metadata.EntryPoint) -> str:
    return " ".join(_distribution(point))


def _word(kind: PluginKind) -> str:
    return kind.replace("_", " ")


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
