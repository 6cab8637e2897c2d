"""The commands for operators: `top`, `dead-letters`, `replay`, `forget`, `verify`, `decrypt`."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerouter.cli.arguments import finite, in_64_bits, topic_filter
from edgerouter.cli.output import say

# A command imports what it needs when it runs, so that `--help` and `--version` answer at once on a small machine.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from edgerouter.config.model import PluginKind, SpoolSection

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", readable=False, help="The configuration file.")]
SpoolFolder = Annotated[
    Path | None,
    typer.Option("--spool", metavar="FOLDER", readable=False, help="The spool's folder, instead of what the configuration says."),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
SinkName = Annotated[str | None, typer.Option("--sink", metavar="NAME", help="Only this sink.")]
TopicFilter = Annotated[
    str | None,
    typer.Option("--topic", metavar="FILTER", callback=topic_filter, help="Only topics that match this MQTT filter."),
]
From = Annotated[str | None, typer.Option("--from", metavar="TIME", help="2026-11-20T08:00, or 2h for two hours ago.")]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Before this time.")]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Only reasons that contain this.")]
Numbers = Annotated[list[int] | None, typer.Argument(metavar="NUMBER", callback=in_64_bits, help="Only these dead letters.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

dead_letters = typer.Typer(
    name="dead-letters", help="Messages that a service will never take: look, send again, throw away.", no_args_is_help=True
)


def spool_of(config: Path | None, folder: Path | None) -> SpoolSection:
    """Return the spool that the options mean; of the configuration, its `spool` section alone is read."""
    from edgerouter.config import spool_section
    from edgerouter.config.file_search import find_file

    return (
        spool_section.at(folder)
        if folder is not None
        else spool_section.read(find_file(config, os.environ, here=False, note=partial(say, err=True)), os.environ, _find_plugin)
    )


def _find_plugin(kind: PluginKind, name: str) -> type[Any]:
    """Find a plugin; only a spool that is not built in needs that."""
    from edgerouter.plugins import find

    return find(kind, name)


def _report(answer: dict[str, Any], said: str, *, as_json: bool) -> None:
    """Say what was done, for people or for programs."""
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        say(said)


def _which(
    sink: str | None, topic: str | None, since: str | None, until: str | None, reason: str | None, numbers: list[int] | None = None
) -> dict[str, Any]:
    """The options that say which dead letters, as the operations take them."""
    from edgerouter.cli.arguments import period

    return {
        "sink": sink,
        "topic": topic,
        **period(since, until),
        "reason": reason,
        "numbers": numbers or [],
    }


def top(
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds between two looks.", min=0.1, max=86_400, callback=finite)
    ] = 1.0,
    seconds: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="End by itself after this long; else q or Ctrl-C ends it.", callback=finite),
    ] = None,
) -> None:
    """Show live what the running router does, on the whole screen; ? lists the keys.

    Waits for a router that does not run yet, and for one that restarts. In a pipe it prints the numbers once, with --seconds
    after waiting at most so long for a router.
    """
    from edgerouter.admin.client import Client
    from edgerouter.cli.top import session, snapshot
    from edgerouter.cli.top.terminal import usable

    folder = spool_of(config, spool).path
    if usable():
        session.run(Client(folder), str(folder), interval, seconds)
    else:
        snapshot.show(Client(folder), interval, seconds)


@dead_letters.command("list")
def list_letters(
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    sink: SinkName = None,
    topic: TopicFilter = None,
    since: From = None,
    until: To = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(metavar="COUNT", callback=in_64_bits, help="List at most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first."""
    from edgerouter.cli.dead_letters import print_letters

    print_letters(spool_of(config, spool), limit=limit, as_json=as_json, **_which(sink, topic, since, until, reason))


@dead_letters.command()
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", callback=in_64_bits, help="As `dead-letters list` shows it.")],
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    as_json: AsJson = True,  # noqa: ARG001  (the output always is JSON)
) -> None:
    """Show one dead letter, whole, as JSON."""
    from edgerouter.cli.dead_letters import print_letter

    print_letter(spool_of(config, spool), number)


@dead_letters.command()
def export(
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    sink: SinkName = None,
    topic: TopicFilter = None,
    since: From = None,
    until: To = None,
    reason: Reason = None,
    as_json: AsJson = True,  # noqa: ARG001  (the output always is JSON)
) -> None:
    """Print dead letters as JSON Lines; they stay where they are."""
    from edgerouter.cli.dead_letters import export_letters

    export_letters(spool_of(config, spool), **_which(sink, topic, since, until, reason))


@dead_letters.command("replay")
def replay_letters(
    numbers: Numbers = None,
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    sink: SinkName = None,
    topic: TopicFilter = None,
    since: From = None,
    until: To = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Send dead letters to their sinks again."""
    from edgerouter.cli.dead_letters import refuse_missing
    from edgerouter.cli.output import counted
    from edgerouter.cli.spool import ask

    where = spool_of(config, spool)
    which = _which(sink, topic, since, until, reason, numbers)
    refuse_missing(where, numbers or [])
    answer = ask(where, "dead-letters/replay", **which)
    _report(answer, f"{counted(answer['messages'], 'message')} will be sent again", as_json=as_json)


@dead_letters.command()
def purge(
    numbers: Numbers = None,
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    sink: SinkName = None,
    topic: TopicFilter = None,
    since: From = None,
    until: To = None,
    reason: Reason = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Throw dead letters away for ever; they count as dropped."""
    from edgerouter.cli.dead_letters import count_letters, refuse_missing
    from edgerouter.cli.output import counted
    from edgerouter.cli.spool import ask

    where = spool_of(config, spool)
    which = _which(sink, topic, since, until, reason, numbers)
    refuse_missing(where, numbers or [])
    if not yes and (total := count_letters(where, **which)):
        typer.confirm(f"throw away {counted(total, 'dead letter')} for ever?", abort=True)
    answer = ask(where, "dead-letters/purge", **which)
    _report(answer, f"{counted(answer['messages'], 'dead letter')} thrown away", as_json=as_json)


def replay(
    sink: Annotated[str, typer.Option("--sink", metavar="NAME", help="Sink to deliver to again.")],
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    topic: TopicFilter = "#",
    since: From = None,
    until: To = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many messages it would be.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let a sink deliver messages again that the spool still holds (spool.retain keeps them)."""
    from edgerouter.cli.arguments import period
    from edgerouter.cli.output import counted
    from edgerouter.cli.spool import ask, why_nothing_is_replayed

    where = spool_of(config, spool)
    answer = ask(
        where,
        "replay",
        sink=sink,
        topic=topic,
        **period(since, until),
        dry_run=dry_run,
    )
    said = f"{counted(answer['messages'], 'message')} {'would' if dry_run else 'will'} be delivered again to {sink}"
    if not answer["messages"]:
        said += why_nothing_is_replayed(where, known=spool is None)
    _report(answer | {"dry_run": dry_run}, said, as_json=as_json)


def forget(
    sink: Annotated[str, typer.Argument(metavar="NAME", help="The sink, as `status` names it.")],
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    as_json: AsJson = False,
) -> None:
    """Give up what waits for a sink that is no longer configured."""
    from edgerouter import plugins
    from edgerouter.cli.output import counted
    from edgerouter.cli.spool import forget as forget_sink
    from edgerouter.cloudblock.start import CloudBlock
    from edgerouter.config import spool_section
    from edgerouter.config.file_search import find_file

    where = spool_of(config, spool)
    configured: set[str] = set()
    if spool is None:
        file = find_file(config, os.environ, here=False, note=partial(say, err=True))
        configured |= spool_section.sink_names(file, os.environ)
        configured |= CloudBlock(os.environ).sink_names(plugins) if file is None else set()
    answer = forget_sink(where, sink, configured)
    _report(answer, f"{sink} is forgotten, and {counted(answer['messages'], 'message')} that waited for it", as_json=as_json)


def verify(config: ConfigFile = None, spool: SpoolFolder = None, as_json: AsJson = False) -> None:
    """Check the spool: missing sequences, checksums, and that every sink's ledger adds up. Exit code 1 when something is wrong."""
    from edgerouter.cli.spool import verify as verify_spool

    raise typer.Exit(verify_spool(spool_of(config, spool), as_json=as_json))


def decrypt(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", readable=False, help="Instead of standard input.")] = None,
    key_files: Annotated[
        list[Path] | None,
        typer.Option(
            "--key-file", "-k", metavar="FILE", readable=False, help="A file that holds the key; of several, the one that fits."
        ),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The input is one payload, printed byte for byte.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON Lines with the plain payload in them.")] = False,
) -> None:
    """Print the plain payloads of messages that the step `encrypt` made.

    Reads JSON Lines as the sink `file` writes them, or a payload a line. Exit code 0: all were read. 1: some were not.
    """
    from edgerouter.cli.decrypt import decrypt as print_plain

    if not key_files:
        raise typer.BadParameter("name a file that holds the key", param_hint="--key-file")
    raise typer.Exit(print_plain(file, key_files, raw=raw, as_json=as_json))


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (top, replay, forget, verify, decrypt):
        app.command()(command)
    app.add_typer(dead_letters)
