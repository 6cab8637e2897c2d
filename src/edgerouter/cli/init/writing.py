"""Asks for what no option says, and writes the new configuration."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import typer

from edgerouter.cli.init.plan import Kind, Part, offered, parts
from edgerouter.cli.init.text import yaml
from edgerouter.cli.output import say
from edgerouter.errors import ConfigurationError

BROKER: Final = "mqtt://localhost:1883"
SPOOL: Final = "./spool"


def write(
    *,
    broker: str,
    topics: Sequence[str],
    sources: Sequence[str],
    sinks: Sequence[str],
    given: Sequence[str],
    output: str,
    force: bool,
) -> None:
    """Write the file, or print it for `-`; then say which variables to set, and what to do next.

    Raises:
        ConfigurationError: an option is wrong, or the file exists.
    """
    if output != "-" and not force and os.path.lexists(output):
        raise ConfigurationError(f"{output} exists already; --force replaces it, --output names another file")
    if not (broker or topics or sources or sinks or given) and sys.stdin.isatty() and sys.stderr.isatty():
        broker, topics, sources, sinks, given = _asked()
    found = parts(
        _known("source", sources or ["mqtt"]), _known("sink", sinks or ["file"]), broker or BROKER, topics or ["#"], given
    )
    text = yaml(found, SPOOL)
    if output == "-":
        typer.echo(text, nl=False)
    else:
        _save(Path(output), text, force=force)
        say(f"{output} is written", err=True)
    _say_what_is_next(found, output)


def _known(kind: Kind, types: Sequence[str]) -> Sequence[str]:
    for each in types:
        if each not in offered(kind):
            raise ConfigurationError(f"--{kind} {each}: not installed; there are {', '.join(offered(kind))}")
    return types


def _asked() -> tuple[str, list[str], list[str], list[str], list[str]]:
    """Ask on the terminal; an empty answer takes what stands in brackets."""
    broker = typer.prompt("URL of the MQTT broker", BROKER, err=True)
    topics = typer.prompt("Topic filters, with commas between", "#", err=True).split(",")
    say(f"Sinks that are installed: {', '.join(offered('sink'))}", err=True)
    sinks = [each.strip() for each in typer.prompt("Sinks, with commas between", "file", err=True).split(",")]
    _known("sink", sinks)
    given = []
    for part in parts(["mqtt"], sinks, broker, topics, []):
        for setting in part.settings:
            if setting.value is None and not setting.secret:
                say(f"{part.name}.{setting.name}: {setting.help}", err=True)
                answer = typer.prompt(f"{part.name}.{setting.name} (empty = from the variable {setting.variable})", "", err=True)
                given += [f"{part.name}.{setting.name}={answer}"] if answer else []
    return broker, [each.strip() for each in topics], [], sinks, given


def _save(file: Path, text: str, *, force: bool) -> None:
    try:
        if not force:
            with file.open("x", encoding="utf-8") as new:
                new.write(text)
            return
        beside = file.with_name(f".{file.name}.new")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(file)
        finally:
            with suppress(OSError):
                beside.unlink()
    except FileExistsError:
        raise ConfigurationError(f"{file} exists already; --force replaces it, --output names another file") from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror or error}") from None


def _say_what_is_next(found: Sequence[Part], output: str) -> None:
    missing = [setting for part in found for setting in part.settings if setting.value is None]
    if missing:
        say("Set these variables before the start:", err=True)
    for setting in missing:
        say(f"  {setting.variable}  {'secret: ' if setting.secret else ''}{setting.help}", err=True)
    if output != "-":
        file = shlex.quote(output)
        say(f"Next: edgerouter check -c {file}; edgerouter run -c {file}", err=True)
