"""`edgerouter new-plugin`: a distribution to begin with, which passes its tests."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerouter.cli.output import say

# A command imports what it needs when it runs, so that `--help` and `--version` answer at once on a small machine.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from edgerouter.cli.new_plugin.naming import Naming


class _Kind(Enum):
    """Kinds of plugins, as the user names them."""

    SINK = "sink"
    SOURCE = "source"
    STEP = "step"
    STORE = "secret-store"


def new_plugin(
    kind: Annotated[_Kind, typer.Argument(help="Kind of the plugin.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its `type` in the configuration, such as acme-cloud.")],
    directory: Annotated[
        Path, typer.Option("--directory", metavar="FOLDER", readable=False, help="Folder in which to write edgerouter-NAME.")
    ] = Path(),
) -> None:
    """Write a plugin to begin with: a distribution with a small working implementation and its tests.

    It passes pytest, mypy --strict and ruff as it is; the places to change are marked YOURS. Nothing is overwritten.
    """
    from edgerouter.cli.new_plugin.naming import naming_of
    from edgerouter.cli.new_plugin.writing import write

    naming = naming_of(kind.value, name)
    _refuse_installed(naming)
    folder = write(naming, directory)
    say(f"wrote {folder}; next:")
    say(f"  cd {shlex.quote(str(folder))}")
    say("  pip install --editable '.[dev]'")
    say("  pytest && mypy && ruff check")
    say("  grep -rn YOURS .    the places to change")


def _refuse_installed(naming: Naming) -> None:
    """Refuse the name of a plugin of this kind, and a distribution that pip would put in the place of an installed one."""
    from edgerouter import plugins
    from edgerouter.errors import ConfigurationError

    kind = naming.kind
    group = "secret_store" if kind == "secret-store" else kind
    for plugin in plugins.listing():
        if plugin.kind != group and plugin.distribution == naming.distribution:
            raise ConfigurationError(
                f"{plugin.distribution} is installed already, with the {plugin.kind.replace('_', ' ')} {plugin.name!r}: "
                "add this one to it, or choose another name"
            )
        if plugin.kind == group and plugin.name == naming.name and plugin.distribution != naming.distribution:
            raise ConfigurationError(
                f"the {group.replace('_', ' ')} {naming.name!r} is installed already, by {plugin.distribution} {plugin.version}: "
                "choose another name"
            )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="new-plugin")(new_plugin)
