"""Reads the spool's settings alone, for commands that need neither plugins nor secrets nor a configuration that is valid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from edgerouter.config import overlay, references
from edgerouter.config.model import SpoolConfig, SpoolSection
from edgerouter.config.overlay import Environment
from edgerouter.config.spool_type import AnySpool, Find, spool_model
from edgerouter.config.tree import Fault, Node, Origin
from edgerouter.config.validation import Part, Problems
from edgerouter.config.yaml_file import read as read_tree
from edgerouter.errors import ConfigurationError

_SECTION: Final = "spool"
_NEEDED: Final = frozenset({"path", "type"})
"""Fields that say which spool is meant; a fault in another one does not keep an operator from looking."""
_HINT: Final = "with --spool FOLDER this command needs no configuration"


def read(path: Path | None, environ: Mapping[str, str], find: Find) -> SpoolSection:
    """Return the spool that a configuration names; everything else in it may be wrong, missing or secret.

    Fields with a fault have their defaults. A plugin's section with a fault, such as a secret that is not set here, still says
    where a running router is found.

    Args:
        path: the file; `None` = the environment alone.
        environ: the environment.
        find: finds the plugin of a spool that is not built in.

    Raises:
        ConfigurationError: the file is not YAML, or the spool's path or type cannot be read.
    """
    try:
        return _read(path, environ, find)
    except ConfigurationError as error:
        raise ConfigurationError(*error.problems, _HINT) from None


def at(folder: Path) -> SpoolConfig:
    """Return the spool in a folder that the command line names.

    Raises:
        ConfigurationError: it cannot be a folder.
    """
    try:
        return SpoolConfig(path=folder)
    except ValidationError as error:
        reasons = [found["msg"].removeprefix("Value error, ") for found in error.errors()]
        raise ConfigurationError(*(f"--spool: {reason}" for reason in reasons)) from None


def sink_names(path: Path | None, environ: Mapping[str, str]) -> set[str]:
    """Return the names of all sinks that a file and `EDGEROUTER__` variables list, whether or not they could be opened.

    Args:
        path: the file; `None` = the environment alone.
        environ: the environment.

    Raises:
        ConfigurationError: the file is not YAML.
    """
    return names("sinks", path, environ)


def names(section: str, path: Path | None, environ: Mapping[str, str]) -> set[str]:
    """Return the names in `sinks` or `sources`.

    Raises:
        ConfigurationError: the file is not YAML.
    """
    return set(_tree(path, environ).entries(section))


def _read(path: Path | None, environ: Mapping[str, str], find: Find) -> SpoolSection:
    tree = _tree(path, environ)
    section = tree.child(_SECTION)
    problems = Problems(str(path) if path is not None else "environment")
    if section is not None and section.value is not None and not isinstance(section.value, dict):
        problems.at(tree, (_SECTION,), "should be a mapping")
    model = spool_model(tree, find, problems)
    if model is not SpoolConfig:
        return _of_plugin(tree, model, problems, lambda part: references.substitute(part, environ, _folder(path)))
    entries = tree.entries(_SECTION)
    for key in list(entries):
        found = problems if key in _NEEDED else Problems("")
        alone = Node({_SECTION: Node({key: entries[key]}, Origin(""))}, Origin(""))
        faults = references.substitute(alone, environ, _folder(path))
        for origin, text in faults:
            found.add(origin, text)
        if faults or not _is_sound(tree, key, found):
            del entries[key]
    problems.raise_if_any()
    # fields that are sound alone may still contradict each other
    needed = {key: node for key, node in entries.items() if key in _NEEDED}
    for some in (entries, needed):
        spool = Part(tree, (_SECTION,), Node(dict(some), Origin(""))).validate(SpoolConfig, Problems(""))
        if spool is not None:
            return spool
    return SpoolConfig()


def _of_plugin(
    tree: Node, model: type[SpoolSection], problems: Problems, substitute: Callable[[Node], list[Fault]]
) -> SpoolSection:
    """Return the whole section of a plugin, or what every spool has of it."""
    entries = tree.entries(_SECTION)
    label = problems.label

    def read(kind: type[SpoolSection], keys: Iterable[str], problems: Problems) -> SpoolSection | None:
        part = Node({key: entries[key] for key in keys}, Origin(""))
        for origin, text in substitute(Node({_SECTION: part}, Origin(""))):
            problems.add(origin, text)
        return Part(tree, (_SECTION,), part).validate(kind, problems)

    needed = read(AnySpool, entries.keys() & _NEEDED, problems)
    problems.raise_if_any()
    faults = Problems(label)
    whole = read(model, entries, faults)
    try:
        faults.raise_if_any()
    except ConfigurationError as error:
        assert needed is not None, "it has no fault"
        return needed.model_copy(update={"problems": tuple(error.problems)})
    assert whole is not None, "it has no fault"
    return whole


def _folder(path: Path | None) -> Path:
    return path.parent if path is not None else Path.cwd()


def _tree(path: Path | None, environ: Mapping[str, str]) -> Node:
    tree = read_tree(path)[0] if path is not None else Node({}, Origin("environment"))
    overlay.overlay(tree, Environment.readable(environ))
    return tree


def _is_sound(tree: Node, key: str, problems: Problems) -> bool:
    node = tree.entries(_SECTION)[key]
    if any(inner.pending for _, inner in node.walk()):
        problems.at(tree, (_SECTION, key), "a secret store is not asked for it; use ${env:NAME} or ${file:/path}")
        return False
    return Part(tree, (_SECTION,), Node({key: node}, Origin(""))).validate(SpoolConfig, problems) is not None
