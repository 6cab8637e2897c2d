"""The command `completion`, and the hidden one that its scripts ask for names."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from edgerouter.cli.commands import ConfigFile, SpoolFolder

# A command imports what it needs when it runs, so that `--help` and `--version` answer at once on a small machine.
# ruff: noqa: PLC0415

Shell = Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]


def completion(context: typer.Context, shell: Shell) -> None:
    """Print a script that completes commands, options and the names of sinks and sources.

    For this shell alone: source <(edgerouter completion bash). The first lines of the script name the file to keep it in.
    """
    from edgerouter.cli.completion.shells import script
    from edgerouter.cli.completion.table import places

    typer.echo(script(shell, places(context.find_root().command)), nl=False)


def complete_names(
    kind: Annotated[Literal["sink", "source"], typer.Argument(metavar="KIND")], config: ConfigFile = None, spool: SpoolFolder = None
) -> None:
    """Print the names of sinks or sources, for the scripts."""
    from edgerouter.cli.completion.names import print_names

    print_names(kind, config, spool)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(completion)
    # the scripts pass on every option of the line that they complete
    app.command(hidden=True, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(complete_names)
