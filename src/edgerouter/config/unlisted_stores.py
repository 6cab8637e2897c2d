"""Secret stores that references name by their type alone: `${vault:...}` without an entry under `secret_stores`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from pydantic import BaseModel

from edgerouter.config.digest import Digest
from edgerouter.config.model import ConfiguredSecretStore, PluginKind
from edgerouter.config.tree import Node, Origin, Place, pending_in
from edgerouter.config.validation import Part, Problems, nearest
from edgerouter.errors import PluginError

_SECTIONS = ("sources", "sinks")
"""Sections whose fields may refer to a store."""


def used(
    tree: Node, listed: Sequence[str], installed: Sequence[str], find: Callable[[PluginKind, str], type[Any]], problems: Problems
) -> list[ConfiguredSecretStore]:
    """Return the stores that are used and not listed.

    Args:
        tree: of the whole configuration.
        listed: names under `secret_stores`.
        installed: types of secret stores.
        find: returns the class of a type; raises `PluginError`.
        problems: gets each reference to a store that cannot be had so.
    """
    stores = []
    for name in {store: None for section in _SECTIONS for store, _ in pending_in(tree.child(section))}:
        if name in listed:
            continue
        if name in installed:
            found = _by_type(name, find)
        else:
            found = f"no secret store {name!r} is listed in secret_stores" + nearest(name, {"env", "file", *listed, *installed})
        if isinstance(found, str):
            for place in _references(tree, name):
                problems.at(tree, place, found)
        else:
            stores.append(found)
    return stores


def _by_type(name: str, find: Callable[[PluginKind, str], type[Any]]) -> ConfiguredSecretStore | str:
    """Return the store without any fields, or why that does not do."""
    try:
        plugin = find("secret_store", name)
    except PluginError as error:
        return str(error)
    empty = Part(Node({}, Origin("")), (), Node({}, Origin("")))
    config: BaseModel | None = empty.validate(plugin.Config, Problems(""))
    if config is None:
        return f"the secret store {name!r} needs more than its name; list it under secret_stores"
    return ConfiguredSecretStore(
        name=name, plugin=plugin, config=cast("Any", config), raw={}, digest=Digest(name, config), type=name
    )


def _references(tree: Node, name: str) -> Iterator[Place]:
    for section in _SECTIONS:
        node = tree.child(section)
        for place, inner in node.walk() if node is not None else ():
            if any(store == name for store, _ in inner.pending):
                yield (section, *place)
