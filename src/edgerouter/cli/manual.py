"""Print docs/reference/configuration.md (`make docs`); with a DISTRIBUTION as argument, only its plugins."""

from __future__ import annotations

import sys

from pydantic import BaseModel

from edgerouter import plugins
from edgerouter.cli.schema import KINDS
from edgerouter.config.describe import manual
from edgerouter.config.model import PluginKind

CORE = "edgerouter"


def page(distribution: str = CORE) -> str:
    """Everything about the core with its built-in plugins, or only the plugins of another distribution.

    What else happens to be installed is not in it, so that it is the same everywhere.

    Raises:
        PluginError: one of the plugins cannot be used.
    """
    configs: dict[PluginKind, dict[str, type[BaseModel]]] = {kind: {} for kind in KINDS}
    for plugin in plugins.listing():
        if plugin.distribution == distribution:
            configs[plugin.kind][plugin.name] = plugins.find(plugin.kind, plugin.name).Config
    return manual.write(configs) if distribution == CORE else manual.write_plugins(configs)


if __name__ == "__main__":
    print(page(*sys.argv[1:]), end="")  # noqa: T201  (printing it is its purpose)
