"""The commands that steer a running router: `pause`, `resume`, `drain`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from edgerouter.cli.commands import AsJson, ConfigFile, SpoolFolder, spool_of
from edgerouter.cli.output import counted, say

# A command imports what it needs when it runs, so that `--help` and `--version` answer at once on a small machine.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from edgerouter.admin.client import Client

Sink = Annotated[str | None, typer.Argument(metavar="SINK", help="The sink, as `status` names it.")]
Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="A source instead of a sink.")]


def pause(
    sink: Sink = None, source: Source = None, config: ConfigFile = None, spool: SpoolFolder = None, as_json: AsJson = False
) -> None:
    """Stop a sink or a source of the running router, until `resume`; a restart leaves it paused.

    A sink ends the writes that run and starts none; its messages wait in the spool. A source stores and acknowledges what it
    has received, and closes its connection; its broker keeps the rest, within the broker's bounds.
    """
    answer = _steer("pause", sink, source, _client(config, spool))
    name = sink or source
    if as_json:
        typer.echo(json.dumps(answer))
        return
    say(f"{name} is paused" if answer["changed"] else f"{name} was paused already")
    if not answer["at_rest"]:
        say(f"a {'write' if source is None else 'delivery'} still runs; no other follows it", err=True)
    _warn_of_restart(answer)


def resume(
    sink: Sink = None, source: Source = None, config: ConfigFile = None, spool: SpoolFolder = None, as_json: AsJson = False
) -> None:
    """End a pause of a sink or a source."""
    answer = _steer("resume", sink, source, _client(config, spool))
    if as_json:
        typer.echo(json.dumps(answer))
        return
    say(f"{sink or source} {'runs again' if answer['changed'] else 'was not paused'}")
    _warn_of_restart(answer)


def drain(
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="End after this time, such as 90s or 10m, with what is left in the spool."),
    ] = None,
    config: ConfigFile = None,
    spool: SpoolFolder = None,
    as_json: AsJson = False,
) -> None:
    """Let the running router deliver everything that its spool holds, and end.

    It accepts no more messages from now on. Exit code 0: no sink has anything left. 1: the time was over, or a sink is paused;
    the spool keeps the rest for the next start.
    """
    from edgerouter.units import parse_duration

    try:
        seconds = None if timeout is None else parse_duration(timeout)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None
    answer = _client(config, spool).ask("POST", "/api/v1/drain", {"timeout": seconds}, seconds=None)
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        for name, messages in answer["left"].items():
            say(f"{name}: {counted(messages, 'message')} left in the spool", err=True)
        if answer["dead_letters"]:
            say(f"{counted(answer['dead_letters'], 'dead letter')} left in the spool; they are not sent", err=True)
        say("the router is drained and ends" if not answer["left"] else "the router ends, and is not drained")
    raise typer.Exit(1 if answer["left"] else 0)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (pause, resume, drain):
        app.command()(command)


def _client(config: Any, spool: Any) -> Client:
    from edgerouter.admin.client import Client

    return Client(spool_of(config, spool).path)


def _steer(operation: str, sink: str | None, source: str | None, client: Client) -> dict[str, Any]:
    if (sink is None) == (source is None):
        raise typer.BadParameter("name a sink, or a source by --source NAME")
    kind, name = ("sinks", sink) if source is None else ("sources", source)
    answer: dict[str, Any] = client.ask("POST", f"/api/v1/{kind}/{quote(str(name), safe='')}/{operation}", {})
    return answer


def _warn_of_restart(answer: dict[str, Any]) -> None:
    if answer["changed"] and not answer["kept"]:
        say("the spool's folder cannot be written: the next start of the router will not know of this", err=True)
