"""Prints docs/configuration.md: `python -m edgerouter.cli.manual` (`make docs`)."""

from __future__ import annotations

from pydantic import BaseModel

from edgerouter import plugins
from edgerouter.cli.schema import KINDS
from edgerouter.config.manual import write
from edgerouter.config.model import PluginKind

_OURS = "edgerouter"


def page() -> str:
    """The page, with the plugins of this repository that are installed and no others, so that it is the same everywhere.

    Raises:
        PluginError: one of them cannot be used.
    """
    configs: dict[PluginKind, dict[str, type[BaseModel]]] = {kind: {} for kind in KINDS}
    for plugin in plugins.listing():
        if plugin.distribution == _OURS or plugin.distribution.startswith(f"{_OURS}-"):
            configs[plugin.kind][plugin.name] = plugins.find(plugin.kind, plugin.name).Config
    return write(configs)


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201  (printing it is its purpose)
