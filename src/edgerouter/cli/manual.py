"""Print docs/reference/configuration.md (`make docs-reference`); with a DISTRIBUTION as argument, the page of its plugins."""

from __future__ import annotations

import sys
from collections import defaultdict

from pydantic import BaseModel

from edgerouter import plugins
from edgerouter.config.describe import manual
from edgerouter.config.model import PluginKind

CORE = "edgerouter"
_HEAD = """\
# Fields of {distribution}

<!-- Written by `make docs-reference` from the models of the plugins; change the docstrings there. -->

Every field of the plugins that `{distribution}` brings, with its default and an example. The policies that each source and sink
has beside them are in [Configuration](configuration.md), with the syntax of [values](configuration.md#how-values-are-written).

"""


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
    if distribution == CORE:
        return manual.write(configs)
    return _HEAD.format(distribution=distribution) + manual.write_plugins(configs)


if __name__ == "__main__":
    print(page(*sys.argv[1:]), end="")  # noqa: T201  (printing it is its purpose)
