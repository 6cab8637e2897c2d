"""Loads the configuration: file, environment, references and plugins, with every error at its place and all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgerouter.config import cloud_block, overlay, references, unread_variables
from edgerouter.config.assembly import Assembly, Plugins
from edgerouter.config.cloud_block import Found
from edgerouter.config.declared import Known
from edgerouter.config.model import RouterConfig
from edgerouter.config.overlay import Environment
from edgerouter.config.secrecy import protect_environment, protect_written
from edgerouter.config.tree import Fault
from edgerouter.config.tree import read as read_tree
from edgerouter.config.validation import Problems


def load(path: Path | None, environ: Mapping[str, str], plugins: Plugins, known: Known | None = None) -> RouterConfig:
    """The whole configuration.

    Args:
        path: the file; `None` = from the environment only.
        environ: the environment, for `EDGEROUTER__A__B` and `${env:NAME}`, and without a file for the variables of plugins.
        plugins: where plugins are found.
        known: without a file, what the secret stores are known to have.

    Raises:
        ConfigurationError: one line for each thing that is wrong, sorted by place.
    """
    protect_environment(environ)
    around = Environment(environ)
    found = Found()
    faults: list[Fault] = []
    if path is not None:
        tree, faults = read_tree(path)
    else:
        variables = plugins.variables()
        found = cloud_block.read(around, variables, known or {})
        tree = found.tree
        found.off += unread_variables.not_installed(around.names(), variables)
        found.unread += unread_variables.misspelt_cloud(around.names(), variables)
    problems = Problems(str(path) if path is not None else "environment")
    for origin, text in [*faults, *found.faults, *overlay.overlay(tree, around)]:
        problems.add(origin, text)
    found.unread += unread_variables.misspelt_own(around.names(), tree)
    found.prune()
    folder = path.parent if path is not None else Path.cwd()
    protect_written(tree)
    for origin, text in references.substitute(tree, environ, folder):
        problems.add(origin, text)
    config = Assembly(tree, plugins, problems, found).run(path)
    problems.raise_if_any()
    return config
