"""`edgerouter config`: the configuration as it takes effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import typer

from edgerouter.cli.output import say
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.config.describe import effective
from edgerouter.config.last_known import LastKnown
from edgerouter.config.model import RouterConfig

ASKING_SECONDS = 15.0

Load = Callable[[], RouterConfig]


def print_config(load: Load, cloud: CloudBlock, *, everything: bool) -> None:
    """Print YAML on standard output.

    Args:
        load: loads the configuration.
        cloud: the environment that `load` reads where there is no file.
        everything: defaults too, not only what the user wrote.
    """
    config, reason = decided(load, cloud)
    if reason:
        say(f"# not known yet which sinks are on: {reason}")
    text = effective.as_yaml(config) if everything else effective.as_yaml(config, written_only=True)
    typer.echo(text, nl=False)


def decided(load: Load, cloud: CloudBlock, seconds: float = ASKING_SECONDS) -> tuple[RouterConfig, str]:
    """Return the configuration with what the secret stores say, and why something is not known, if so."""
    config = load()
    if not cloud.undecided:
        return config, ""

    async def asking() -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await cloud.ask(LastKnown())
        return f"no answer in {seconds:g} s"

    reason = asyncio.run(asking())
    return load(), reason
