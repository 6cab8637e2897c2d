"""Opens a source or sink once, and has a spool on servers examined, to see whether the other side lets us in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from edgerouter.blocking import SinkOpener
from edgerouter.config.model import ConfiguredSink, ConfiguredSource, RouterConfig
from edgerouter.config.references import resolve
from edgerouter.errors import EdgerouterError, Unavailable
from edgerouter.masking import mask
from edgerouter.plugins import examine_spool
from edgerouter.sink import SinkContext
from edgerouter.source import Source, SourceContext

_SPOOL = "check"
"""Stands for the spool's id, which only a spool that is open has."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one probe."""

    good: bool
    line: str


async def probe_sink(configured: ConfiguredSink, config: RouterConfig, timeout: float) -> Outcome:  # noqa: ASYNC109  (told in the outcome)
    """Enter and leave the sink's `open`."""

    async def opened() -> None:
        resolved = await resolve(configured, config.secret_stores, probe=True)
        context = SinkContext(name=configured.name, host=config.host, spool=_SPOOL, probe=True)
        async with SinkOpener(configured.plugin).open(resolved, context):
            pass

    return await _told(_named("sink", configured), opened, timeout, lambda: "")


async def probe_spool(config: RouterConfig, timeout: float) -> Outcome:  # noqa: ASYNC109  (told in the outcome)
    """Have the plugin of the spool look at its servers."""
    found = ""

    async def examined() -> None:
        nonlocal found
        found = await examine_spool(config.spool, config.host)

    outcome = await _told(f"spool ({config.spool.type})", examined, timeout, lambda: "")
    return Outcome(True, f"{outcome.line}: {found}") if outcome.good and found else outcome


async def probe_source(configured: ConfiguredSource, config: RouterConfig, timeout: float) -> Outcome:  # noqa: ASYNC109  (told in the outcome)
    """Open the source until it says that it is connected; nothing that comes in is acknowledged."""
    connected = asyncio.Event()
    reason = ""

    def on_connected(yes: bool, why: str) -> None:
        nonlocal reason
        reason = why
        if yes:
            connected.set()

    async def opened() -> None:
        resolved = await resolve(configured, config.secret_stores, probe=True)
        context = SourceContext(
            name=configured.name,
            host=config.host,
            spool=_SPOOL,
            flush_now=lambda: None,
            dropped=lambda topic, messages, reason: None,  # noqa: ARG005  (the contract names them)
            connected=on_connected,
            probe=True,
        )
        async with configured.plugin.open(resolved, context) as source, asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read(source), name=f"check {configured.name}")
            await connected.wait()
            reading.cancel()

    async def read(source: Source[Any]) -> None:
        async for _ in source.deliveries():
            # what brings something in is connected, whether or not it says so
            on_connected(True, "")
            return
        raise Unavailable(f"ended before it was connected: {reason}".removesuffix(": "))

    return await _told(_named("source", configured), opened, timeout, lambda: reason)


def _named(word: str, configured: ConfiguredSink | ConfiguredSource) -> str:
    return f"{word} {configured.name} ({configured.type})"


async def _told(
    who: str,
    opened: Callable[[], Awaitable[None]],
    timeout: float,  # noqa: ASYNC109  (told in the outcome)
    reason: Callable[[], str],
) -> Outcome:
    began = time.monotonic()
    try:
        async with asyncio.timeout(timeout) as bound:
            await opened()
    except Exception as error:  # noqa: BLE001  (whatever a plugin raises is what this command is there to show)
        if bound.expired():
            return Outcome(False, f"{who}: failed: not open after {timeout:g} s: {mask(reason())}".removesuffix(": "))
        return Outcome(False, f"{who}: failed: {_text(error)}")
    return Outcome(True, f"{who}: ok, open after {time.monotonic() - began:.2f} s")


def _text(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = mask(" ".join(str(error).split()))
    return text if isinstance(error, EdgerouterError) else f"{type(error).__name__}: {text}"
