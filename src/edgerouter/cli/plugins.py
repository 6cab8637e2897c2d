"""`edgerouter plugins`: installed plugins and their distributions."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from edgerouter import plugins
from edgerouter.cli.output import say


def print_plugins(*, as_json: bool) -> None:
    """Print a line for each plugin, or a JSON array of objects."""
    installed = plugins.listing()
    if as_json:
        typer.echo(json.dumps([asdict(plugin) for plugin in installed], indent=2))
        return
    rows = [("KIND", "NAME", "DISTRIBUTION", "TARGET")]
    rows += [
        (plugin.kind.replace("_", " "), plugin.name, f"{plugin.distribution} {plugin.version}", plugin.target)
        for plugin in installed
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        say("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]))
