"""Print docs/reference/configuration.md (`make docs-reference`); with a DISTRIBUTION as argument, only its plugins."""

from __future__ import annotations

import sys
from collections import defaultdict

from pydantic import BaseModel

from edgerouter import plugins
from edgerouter.config.describe import manual
from edgerouter.config.model import PluginKind

CORE = "edgerouter"


def page(distribution: str = CORE) -> str:
    """Everything about the core with its built-in plugins, or only the plugins of another distribution.

    What else happens to be installed is not in it, so that it is the same everywhere.

    Raises:
        PluginError: one of the plugins cannot be used.
    """
    configs: dict[PluginKind, dict[str, type[BaseModel]]] = defaultdict(dict)
    for plugin in plugins.listing():
        if plugin.distribution == distribution:
            configs[plugin.kind][plugin.name] = plugins.find(plugin.kind, plugin.name).Config
    return manual.write(configs) if distribution == CORE else manual.write_plugins(configs)


if __name__ == "__main__":
    print(page(*sys.argv[1:]), end="")  # noqa: T201  (printing it is its purpose)
