"""`edgerouter check`: validity of the configuration, its folders, and with `--connect` every connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from edgerouter.cli.output import say
from edgerouter.cli.probe import Outcome, probe_sink, probe_source, probe_spool
from edgerouter.config.checks.folders import sink_folder_faults, spool_fault
from edgerouter.config.checks.loops import loop_faults
from edgerouter.config.describe import effective
from edgerouter.config.model import RouterConfig
from edgerouter.config.spool_type import BUILT_IN
from edgerouter.pipeline.shaping.expectations import failures

TIMEOUT = 15.0
"""Seconds that one source or sink may take to open."""


def check(config: RouterConfig, *, connect: bool, timeout: float = TIMEOUT, unanswered: str = "") -> int:
    """Print what was found; the configuration itself is valid.

    Args:
        config: what the user wrote.
        connect: also open every source and sink, and look at the servers of the spool.
        timeout: seconds for each.
        unanswered: why it is not known which sinks are on, if so.

    Returns:
        The exit code: 0, or 2 when anything failed.
    """
    good = not config.off and not unanswered
    for line in config.off:
        say(f"{config.file or 'environment'}: {line}", err=True)
    for line in config.unread:
        say(f"{config.file or 'environment'}: {line}", err=True)
    if unanswered:
        say(f"not known yet which sinks are on: {unanswered}", err=True)
    faults = [*spool_fault(config.spool), *sink_folder_faults(config), *loop_faults(config)]
    for fault in faults:
        say(config.located(fault), err=True)
    good = good and not faults
    failed = list(failures(config))
    for failure in failed:
        say(config.located(failure), err=True)
    good = good and not failed
    _summary(config, valid=not faults)
    if config.tests:
        bad = len({failure.partition(".")[0] for failure in failed})
        say(f"  tests: {len(config.tests) - bad} of {len(config.tests)} passed", err=bool(bad))
    if connect:
        with silence():
            outcomes = asyncio.run(probe_all(config, timeout))
        for outcome in outcomes:
            say(outcome.line, err=not outcome.good)
            good = good and outcome.good
    return 0 if good else 2


@contextmanager
def silence() -> Iterator[None]:
    """No log lines: what a source or sink has to say is in its outcome."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)


def _summary(config: RouterConfig, *, valid: bool) -> None:
    if valid:
        say(f"{config.file or 'environment'}: the configuration is valid")
    stores = [store for store in config.secret_stores if store.listed]
    for word, members in (("sources", config.sources), ("sinks", config.sinks), ("secret stores", stores)):
        if members:
            say(f"  {word}: " + ", ".join(f"{member.name} ({member.type})" for member in members))
    where = f" in {config.spool.path}" if config.spool.type == "sqlite" else ""
    say(f"  spool: {config.spool.type}{where}")
    say("where values come from (all others are defaults, see `edgerouter config --effective`):")
    for value in effective.values(config):
        if value.origin != effective.DEFAULT:
            say(f"  {value.dotted}: {value.text}  ({value.origin})")


async def probe_all(config: RouterConfig, timeout: float) -> list[Outcome]:  # noqa: ASYNC109  (the bound is the caller's to choose)
    """Open each source and sink, and look at the servers of the spool."""
    probes = [probe_source(source, config, timeout) for source in config.sources]
    probes += [probe_sink(sink, config, timeout) for sink in config.sinks]
    if config.spool.type not in BUILT_IN:
        probes.append(probe_spool(config, timeout))
    return await asyncio.gather(*probes)
