"""Select the model of the section `spool` by the type that is written: one of the built-in two, or a plugin's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, get_args

from pydantic import ConfigDict

from edgerouter.config.model import PluginKind, SpoolConfig, SpoolSection
from edgerouter.config.tree import Node
from edgerouter.config.validation import Problems
from edgerouter.errors import PluginError

BUILT_IN: Final[tuple[str, ...]] = get_args(SpoolConfig.model_fields["type"].annotation)
Find = Callable[[PluginKind, str], type[Any]]
"""Returns the plugin class of a kind and name; raises `PluginError`."""


class AnySpool(SpoolSection):
    """Stands for a plugin's section whose own fields cannot be read here; what every spool has is there."""

    model_config = ConfigDict(extra="ignore")

    problems: tuple[str, ...] = ()
    """Why; the spool of a stopped router cannot be opened."""


def spool_model(tree: Node, find: Find, problems: Problems) -> type[SpoolSection]:
    """Return the model that describes the section.

    Args:
        tree: the whole configuration.
        find: called only for a type that is not built in, so that the others import no plugin.
        problems: gets the reason why a plugin cannot be used.
    """
    node = tree.entries("spool").get("type")
    wanted = node.value if node is not None else None
    if not isinstance(wanted, str) or (node is not None and node.pending) or wanted in BUILT_IN:
        return SpoolConfig
    try:
        model: type[SpoolSection] = find("spool", wanted).Config
    except PluginError as error:
        for problem in error.problems:
            problems.at(tree, ("spool", "type"), problem)
        return AnySpool
    return model
