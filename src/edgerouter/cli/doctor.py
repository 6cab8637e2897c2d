"""`edgerouter doctor`: measurements of the broker, the machine and the services, as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from edgerouter.cli.check import TIMEOUT, probe_all, silence
from edgerouter.cli.output import console, say
from edgerouter.cli.probe import Outcome
from edgerouter.config.model import RouterConfig
from edgerouter.doctor.broker.examination import Restart
from edgerouter.doctor.examination import SUBJECTS, Wish, examine
from edgerouter.doctor.finding import Finding, Verdict, finding, has_failed
from edgerouter.errors import ConfigurationError
from edgerouter.masking import protect
from edgerouter.masking.models import secrets_in
from edgerouter.sources.mqtt.config import MqttSourceConfig

_COLOURS: Final[dict[Verdict, str]] = {"ok": "green", "warn": "yellow", "fail": "red", "unknown": "cyan"}
_NARROW: Final = 60
"""Columns of a terminal below which a table cannot be read."""


def wish(
    config: RouterConfig | None,
    *,
    broker: str | None = None,
    only: str | None = None,
    topic: str | None = None,
    broker_config: Path | None = None,
    restart_test: bool = False,
) -> Wish:
    """Return what the options mean.

    Raises:
        ConfigurationError: an option has no meaning.
    """
    subjects = SUBJECTS if only is None else tuple(each.strip() for each in only.split(","))
    if unknown := [each for each in subjects if each not in SUBJECTS]:
        raise ConfigurationError(f"--only: no subject {unknown[0]!r}; there are {', '.join(SUBJECTS)}")
    if topic is not None and any(character in topic for character in "+#\0"):
        raise ConfigurationError("--topic: a topic to publish below holds no + and no #")
    return Wish(
        config=config,
        brokers=() if broker is None else (broker_settings(broker),),
        only=subjects,
        topic=topic,
        broker_config=broker_config,
        restart=Restart(_ask) if restart_test else None,
        peers=None if config is None else lambda: peers(config),
    )


def broker_settings(url: str) -> MqttSourceConfig:
    """Return the settings of a broker that the command line names.

    Raises:
        ConfigurationError: not the URL of a broker.
    """
    try:
        settings = MqttSourceConfig.model_validate({"url": url, "topics": ["#"]})
    except ValidationError as error:
        reasons = [found["msg"].removeprefix("Value error, ") for found in error.errors(include_input=False)]
        raise ConfigurationError(*(f"--broker: {reason}" for reason in reasons)) from None
    protect(*secrets_in(settings))
    return settings


def run(wanted: Wish) -> list[Finding]:
    """Measure; what sources and sinks would log is in the findings."""
    with silence():
        return asyncio.run(examine(wanted))


async def peers(config: RouterConfig) -> list[Finding]:
    """Open each source and sink, and ask the servers of a shared spool whether they sync, as `check --connect` does."""
    return [_of_outcome(outcome) for outcome in await probe_all(config, TIMEOUT)]


def _of_outcome(outcome: Outcome) -> Finding:
    name, _, evidence = outcome.line.partition(": ")
    if outcome.good:
        return finding("peers", name, "ok", evidence)
    return finding("peers", name, "fail", evidence, "see `edgerouter check --connect`, and the runbook")


def _ask(line: str) -> None:
    say(line, err=True)


def show(findings: list[Finding], *, as_json: bool) -> int:
    """Print the findings; exit code 1 when one of them is a failure, else 0."""
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(findings), indent=2))
    elif sys.stdout.isatty() and console().width >= _NARROW:
        console().print(_table(findings))
    else:
        for found in findings:
            say(f"{found.verdict:8}{found.subject}  {found.name}: {found.evidence}")
            if found.change:
                say(f"{'':8}to change: {found.change}")
    counts = Counter(found.verdict for found in findings)
    if not as_json:
        say(", ".join(f"{counts[verdict]} {verdict}" for verdict in _COLOURS))
    return 1 if has_failed(findings) else 0


def _table(findings: list[Finding]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(ratio=2, overflow="fold")
    table.add_column(ratio=5, overflow="fold")
    for found in findings:
        colour = _COLOURS[found.verdict]
        evidence = Text(found.evidence)
        if found.change:
            evidence.append(f"\nto change: {found.change}", colour)
        table.add_row(Text(found.verdict, colour), f"{found.subject} {found.name}", evidence)
    return table
