"""`edgerouter config`: the configuration as it takes effect."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

import typer

from edgerouter.cli.terminal import say
from edgerouter.config.asking import ask
from edgerouter.config.declared import Known
from edgerouter.config.describe import effective
from edgerouter.config.last_known import LastKnown
from edgerouter.config.model import RouterConfig

ASKING_SECONDS = 15.0


class Load(Protocol):
    """Loads the configuration with what the secret stores are known to have."""

    def __call__(self, known: Known) -> RouterConfig: ...


def print_config(load: Load, *, everything: bool) -> None:
    """YAML on standard output.

    Args:
        load: loads the configuration.
        everything: defaults too, not only what somebody wrote.
    """
    config, reason = asked(load)
    if reason:
        say(f"# not known yet which sinks are on: {reason}")
    text = effective.as_yaml(config) if everything else effective.as_yaml(config, written_only=True)
    typer.echo(text, nl=False)


def asked(load: Load, seconds: float = ASKING_SECONDS) -> tuple[RouterConfig, str]:
    """The configuration with what the secret stores say, and why something is not known, if so."""
    known: Known = {}
    config = load(known)
    if not config.asked:
        return config, ""

    async def asking() -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await ask(config, known, LastKnown())
        return f"no answer in {seconds:g} s"

    reason = asyncio.run(asking())
    return load(known), reason
