"""The commands that look for faults: `doctor` and `bundle`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerouter.cli.commands import AsJson, ConfigFile, SpoolFolder, spool_of

# A command imports what it needs when it runs, so that `--help` and `--version` answer at once on a small machine.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from edgerouter.config.model import RouterConfig

Positional = Annotated[Path | None, typer.Argument(metavar="CONFIG", readable=False, help="The configuration file, as with -c.")]


def doctor(
    file: Positional = None,
    config: ConfigFile = None,
    broker: Annotated[
        str | None,
        typer.Option("--broker", metavar="URL", help="Measure this broker, in place of those of the configuration; it needs none."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="SUBJECTS", help="Only these: clock,dns,tls,disk,memory,cpu,files,broker,peers."),
    ] = None,
    restart_test: Annotated[
        bool, typer.Option("--restart-test", help="Ask for a restart of the broker, and count what it has kept.")
    ] = False,
    topic: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help="Publish probes below this topic; by default below one that reaches no subscriber."),
    ] = None,
    broker_config: Annotated[
        Path | None,
        typer.Option(
            "--broker-config", metavar="FILE", readable=False, help="The mosquitto.conf of the broker, if it is readable here."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the broker, the machine and the way to the services, and say what to change.

    A router that runs with the same configuration is not disturbed; probes use their own client ids and a topic that reaches no
    subscriber. Exit code 0: nothing has failed. 1: something has. 2: the configuration is wrong.
    """
    from edgerouter.cli.doctor import run, show, wish

    loaded = None if broker is not None and (file or config) is None else _loaded(file or config)
    wanted = wish(loaded, broker=broker, only=only, topic=topic, broker_config=broker_config, restart_test=restart_test)
    raise typer.Exit(show(run(wanted), as_json=as_json))


def bundle(
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.tar.gz", readable=False, help="The file to write; it must not exist yet."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", readable=False, help="The router's log, where it is a file.")
    ] = None,
    without_doctor: Annotated[
        bool, typer.Option("--no-doctor", help="Leave out the measurements of `doctor`, which take half a minute.")
    ] = False,
) -> None:
    """Write one file to send with a question: status, configuration, events, metrics, log, measurements.

    Secrets are masked, and payloads are left out; look at it before you send it. It is also written when the router has stopped
    or hangs, and then names what is missing.
    """
    from edgerouter.cli.bundle import bundle as write

    where = spool_of(config, spool)
    write(where, lambda: _loaded(config), output=output, log=log, with_doctor=not without_doctor)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (doctor, bundle):
        app.command()(command)


def _loaded(file: Path | None) -> RouterConfig:
    from edgerouter import plugins
    from edgerouter.cli.config import decided
    from edgerouter.cloudblock.start import CloudBlock
    from edgerouter.config.file_search import find_file

    cloud = CloudBlock(os.environ)
    found = find_file(file, os.environ)
    return decided(lambda: cloud.load(plugins) if found is None else plugins.load(found, os.environ), cloud)[0]
