"""Load a configuration: file, environment, references and plugins, with every error at its place and all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgerouter.config import overlay, references
from edgerouter.config.assembly import Assembly, Plugins
from edgerouter.config.misspelt import misspelt
from edgerouter.config.model import RouterConfig
from edgerouter.config.overlay import Environment
from edgerouter.config.protection import protect_environment, protect_written
from edgerouter.config.tree import Node
from edgerouter.config.validation import Problems
from edgerouter.config.yaml_file import read as read_tree


def load(path: Path, environ: Mapping[str, str], plugins: Plugins) -> RouterConfig:
    """Load a configuration file.

    Args:
        path: the file.
        environ: the environment, for `EDGEROUTER__A__B` and `${env:NAME}`.
        plugins: where plugins are found.

    Raises:
        ConfigurationError: one line for each thing that is wrong, sorted by place.
    """
    protect_environment(environ)
    around = Environment(environ)
    tree, faults = read_tree(path)
    problems = Problems(str(path))
    for origin, text in [*faults, *overlay.overlay(tree, around)]:
        problems.add(origin, text)
    unread = tuple(misspelt(around.names(), tree))
    return replace(assemble(tree, path, environ, plugins, problems), unread=unread)


def assemble(
    tree: Node, path: Path | None, environ: Mapping[str, str], plugins: Plugins, problems: Problems, *, whole: bool = True
) -> RouterConfig:
    """Make the configuration of a tree.

    Args:
        tree: what was written, by file and variables; its references are resolved in place.
        path: the file; `None` = from the environment alone.
        environ: the environment, for `${env:NAME}`.
        plugins: where plugins are found.
        problems: what is wrong so far.
        whole: False if one of them has kept a source or sink out of the tree, so that a missing one is not another problem.

    Raises:
        ConfigurationError: there are problems, earlier ones included.
    """
    protect_written(tree)
    folder = path.parent if path is not None else Path.cwd()
    for origin, text in references.substitute(tree, environ, folder):
        problems.add(origin, text)
    config = Assembly(tree, plugins, problems).run(path, whole=whole)
    problems.raise_if_any()
    return config
