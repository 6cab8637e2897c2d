"""The command `tap`: shows a sample of the messages that pass through a running router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerouter.cli.arguments import in_64_bits, token_of, topic_filter
from edgerouter.cli.commands import AsJson, ConfigFile, SpoolFolder, spool_of

# A command imports what it needs when it runs, so that `--help` and `--version` answer at once on a small machine.
# ruff: noqa: PLC0415

Topic = Annotated[str, typer.Argument(metavar="TOPIC", callback=topic_filter, help="An MQTT topic filter, such as 'plant/+/temp'.")]
Sink = Annotated[str | None, typer.Option("--sink", metavar="NAME", help="What goes to this sink, instead of what comes in.")]
AfterSteps = Annotated[bool, typer.Option("--after-steps", help="With --sink: as its steps leave it.")]
Count = Annotated[int | None, typer.Option("--count", metavar="COUNT", callback=in_64_bits, help="End after so many messages.")]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="A router elsewhere: http(s)://HOST:PORT.")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", readable=False, help="With --url: a file with a token.")
]
AuthoritiesFile = Annotated[
    Path | None,
    typer.Option("--ca-file", metavar="FILE", readable=False, help="With --url: the authorities of its certificate, as PEM."),
]


def tap(
    topic: Topic = "#",
    sink: Sink = None,
    after_steps: AfterSteps = False,
    count: Count = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca_file: AuthoritiesFile = None,
) -> None:
    """Show messages as they pass through the running router, until Ctrl-C.

    A sample within admin.tap: payloads are cut, and messages beyond the rate are counted on standard error. It changes and delays
    nothing. It waits for a router that does not run yet, and for one that restarts. It is off until admin.tap.enabled is set.
    """
    from edgerouter.admin.stream_client import at_folder, at_url
    from edgerouter.cli.tapped import Choice, follow

    if after_steps and sink is None:
        raise typer.BadParameter("name the sink whose steps are meant by --sink NAME", param_hint="--after-steps")
    if url is None and (token_file or ca_file):
        raise typer.BadParameter("--token-file and --ca-file belong to --url")
    if url is None:
        address = at_folder(spool_of(config, spool).path)
    else:
        address = at_url(url, None if token_file is None else token_of(token_file), ca_file)
    follow(address, Choice(topic, sink, after_steps), count, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(tap)
