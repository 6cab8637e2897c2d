"""`edgerouter schema`: the JSON Schema of the configuration file, with every plugin that is installed."""

from __future__ import annotations

import json
from collections import defaultdict

import typer
from pydantic import BaseModel

from edgerouter import plugins
from edgerouter.cli.output import say
from edgerouter.config.describe.schema import build
from edgerouter.config.model import PluginKind
from edgerouter.errors import PluginError


def print_schema() -> None:
    """The schema on standard output; on standard error, what had to be left out."""
    typer.echo(json.dumps(build(installed_configs()), indent=2))


def installed_configs() -> dict[PluginKind, dict[str, type[BaseModel]]]:
    """Return the configuration of every installed plugin, by kind and type; report and leave out one that cannot be used."""
    configs: dict[PluginKind, dict[str, type[BaseModel]]] = defaultdict(dict)
    for kind, name in dict.fromkeys((plugin.kind, plugin.name) for plugin in plugins.listing()):
        try:
            configs[kind][name] = plugins.find(kind, name).Config
        except PluginError as error:
            say(f"left out: {error}", err=True)
    return configs
