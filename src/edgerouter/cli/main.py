"""The command line: its commands, and their exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import edgerouter
from edgerouter.cli import commands, diagnose, fleet, steer, tap
from edgerouter.cli.arguments import in_64_bits
from edgerouter.cli.commands import ConfigFile
from edgerouter.cli.completion import command as completion
from edgerouter.cli.init import command as init
from edgerouter.cli.loading import load
from edgerouter.cli.new_plugin import command as new_plugin
from edgerouter.cli.reporting import reporting

# A command imports what it needs when it runs, so that `--help` and `--version` answer at once on a small machine.
# ruff: noqa: PLC0415

# \b keeps click from filling the lines of a paragraph
_EPILOG = """
\b
Examples:
  edgerouter demo                       broker, devices, router and files
  edgerouter check -c edgerouter.yaml   what is wrong with it, line by line
  edgerouter check --connect            ... and whether all can be reached
  edgerouter try --sink cloud --explain < messages.jsonl   what would be sent
  edgerouter config --effective         every value and where it comes from
  edgerouter run -c edgerouter.yaml     the router, until SIGTERM or Ctrl-C

Without -c the configuration is the file that EDGEROUTER_CONFIG names, else (run, check, config) ./edgerouter.yaml,
else /etc/edgerouter/edgerouter.yaml, else the environment alone. EDGEROUTER__SPOOL__MAX_BYTES=2GiB sets spool.max_bytes.

A wrong configuration ends run, check and config with exit code 2 and one line for each problem. Commands on a spool read
spool.path alone, and nothing with --spool FOLDER.
"""

app = typer.Typer(
    name="edgerouter",
    help="A message router for edge devices: MQTT in, a durable spool, cloud services out. Nothing acknowledged is lost.",
    epilog=_EPILOG,
    add_completion=False,
    no_args_is_help=True,
    # the configuration may hold secrets, so no traceback shows local variables
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgerouter {edgerouter.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


@app.command()
def run(config: ConfigFile = None) -> None:
    """Route messages until SIGTERM or Ctrl-C.

    Then the router accepts nothing more and delivers what it can within shutdown.grace; the rest waits in the spool.
    """
    from edgerouter.cli.run import run_file

    run_file(config)


@app.command()
def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=1, callback=commands.finite, help="End by itself after this long; else Ctrl-C ends it."
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="RATE", min=1, max=5000, callback=commands.finite, help="Messages a second of all devices together (100)."
        ),
    ] = None,
) -> None:
    """See data flow, with nothing to configure.

    Starts a broker, simulated devices and a router with two file sinks, shows their numbers, and in the end compares the files with
    what was sent; exit code 0 only when nothing is missing.
    """
    from edgerouter.cli.demo import demo as run_demo

    raise typer.Exit(run_demo(seconds, rate))


@app.command()
def check(
    config: ConfigFile = None,
    connect: Annotated[bool, typer.Option("--connect", help="Also open every source and sink once.")] = False,
) -> None:
    """Say what is wrong with the configuration, and run the `tests` in it.

    Exit code 0: all is well. 2: something is wrong, or with --connect something cannot be reached.
    """
    from edgerouter.cli.check import check as check_all
    from edgerouter.cli.config import decided
    from edgerouter.cloudblock.start import CloudBlock

    cloud = CloudBlock(os.environ)
    loaded, unanswered = decided(lambda: load(config, cloud), cloud)
    raise typer.Exit(check_all(loaded, connect=connect, unanswered=unanswered))


@app.command(name="try")
def try_steps(
    sink: Annotated[str, typer.Option("--sink", metavar="NAME", help="The sink whose `topics` and `steps` are tried.")],
    config: ConfigFile = None,
    topic: Annotated[
        str | None,
        typer.Option(
            "--topic", metavar="TOPIC", help="Read one payload a line, all of this topic; with --from-spool a topic filter."
        ),
    ] = None,
    from_spool: Annotated[
        str | None,
        typer.Option(
            "--from-spool", metavar="TIME", help="Read what the spool holds since 2026-11-20T08:00, or 10m for ten minutes ago."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="COUNT", callback=in_64_bits, help="Try at most so many messages."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Also show each message behind each step.")] = False,
) -> None:
    """Show what a sink would send for messages on standard input or in the spool; nothing is sent, and the spool stays as it is.

    The input is JSON Lines as the file sink writes them: {"topic": "a/b", "payload": 1}. Standard output gets what would be
    sent, standard error what is left out and why. Windows end behind the last message.
    """
    from itertools import islice

    from edgerouter.cli.arguments import moment, topic_filter
    from edgerouter.cli.stored import stored
    from edgerouter.cli.try_steps import from_lines
    from edgerouter.cli.try_steps import try_steps as try_all
    from edgerouter.cloudblock.start import CloudBlock

    loaded = load(config, CloudBlock(os.environ))
    if from_spool is None:
        messages = from_lines(sys.stdin.buffer, topic)
    else:
        messages = stored(loaded.spool, topic_filter(topic) or "#", moment(from_spool))
    try_all(loaded, sink, islice(messages, limit), explain=explain)


@app.command(name="config")
def show_config(
    config: ConfigFile = None,
    effective: Annotated[bool, typer.Option("--effective", help="Every value, defaults included.")] = False,
) -> None:
    """Print the configuration as it takes effect, and where each value comes from.

    Secrets are masked. Without a file, the secret stores are asked which sinks are on.
    """
    from edgerouter.cli.config import print_config
    from edgerouter.cloudblock.start import CloudBlock

    cloud = CloudBlock(os.environ)
    print_config(lambda: load(config, cloud), cloud, everything=effective)


@app.command()
def schema() -> None:
    """Print a JSON Schema of the configuration.

    It covers every installed plugin. Editors complete and check edgerouter.yaml with it.
    """
    from edgerouter.cli.schema import print_schema

    print_schema()


@app.command()
def plugins(as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False) -> None:
    """List the installed plugins and who brings them.

    None of them is imported.
    """
    from edgerouter.cli.plugins import print_plugins

    print_plugins(as_json=as_json)


for part in (commands, fleet, new_plugin, steer, init, completion, diagnose, tap):
    part.register(app)


def main() -> None:
    """Run one command; report a wrong configuration without a traceback."""
    reporting(app)


if __name__ == "__main__":
    main()
