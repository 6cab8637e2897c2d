"""The command `status`: of one router, or of all routers of a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerouter.cli.arguments import finite
from edgerouter.cli.commands import AsJson, ConfigFile, SpoolFolder, spool_of

# A command imports what it needs when it runs, so that `--help` and `--version` answer at once on a small machine.
# ruff: noqa: PLC0415

Ready = Annotated[bool, typer.Option("--ready", help="Exit with 0 when messages can be taken in, else with 1.")]
Routers = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ROUTER]...", help="With --all: http(s)://HOST:PORT or a spool's folder."),
]
All = Annotated[bool, typer.Option("--all", help="Ask several routers, and sum their ledgers.")]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", readable=False, help="With --all: a file with the token that each URL gets."),
]
AuthoritiesFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file", metavar="FILE", readable=False, help="With --all: the authorities of the routers' certificates, as PEM."
    ),
]
Seconds = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", help="With --all: for each router's answer.", min=0.1, max=3600, callback=finite),
]


def status(
    routers: Routers = None,
    everything: All = False,
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    as_json: AsJson = False,
    ready: Ready = False,
    token_file: TokenFile = None,
    ca_file: AuthoritiesFile = None,
    wait: Seconds = 5.0,
) -> None:
    """Show once what the running router does.

    While no router runs it shows what the spool holds. With --ready the exit code is 0 when messages can be taken in and 1 when
    not: for a container's health check. With --all it shows a row for each router and the sum of their ledgers; exit code 1 when
    one of them does not answer, or when the numbers do not add up.
    """
    if everything:
        from edgerouter.cli.fleet_table import show_all

        if not routers:
            raise typer.BadParameter("name at least one router after --all: http://HOST:PORT or the folder of a spool")
        raise typer.Exit(show_all(routers, seconds=wait, token_file=token_file, authorities=ca_file, as_json=as_json))
    if routers:
        raise typer.BadParameter("routers are named after --all; one alone by --spool FOLDER")
    from edgerouter.cli.status import show

    raise typer.Exit(show(spool_of(config, spool), ready=ready, as_json=as_json))


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(status)
