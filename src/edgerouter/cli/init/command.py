"""The command `init`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgerouter.cli.arguments import topic_filters

# A command imports what it needs when it runs, so that `--help` and `--version` answer at once on a small machine.
# ruff: noqa: PLC0415

Broker = Annotated[str, typer.Option("--broker", metavar="URL", help="The MQTT broker; mqtt://localhost:1883 by default.")]
Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", metavar="FILTER", callback=topic_filters, help="Topics to subscribe to; # by default."),
]
Sources = Annotated[list[str] | None, typer.Option("--source", metavar="TYPE", help="A source; mqtt by default. May be repeated.")]
Sinks = Annotated[list[str] | None, typer.Option("--sink", metavar="TYPE", help="A sink; file by default. May be repeated.")]
Given = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME.FIELD=VALUE", help="A field of a source or sink, named by its type. May be repeated."),
]
Output = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The file to write; - prints it.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]


def init(
    broker: Broker = "",
    topics: Topics = None,
    sources: Sources = None,
    sinks: Sinks = None,
    given: Given = None,
    output: Output = "edgerouter.yaml",
    force: Force = False,
) -> None:
    """Write a configuration to begin with, with a comment for each field.

    On a terminal it asks for what no option says. Secrets and other values that are not known are references to environment
    variables, which it lists. `edgerouter plugins` shows the types that are installed.
    """
    from edgerouter.cli.init.writing import write

    write(
        broker=broker, topics=topics or [], sources=sources or [], sinks=sinks or [], given=given or [], output=output, force=force
    )


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(init)
