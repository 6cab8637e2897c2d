"""Steering of a running router: pause and resume a sink or a source, and drain the router for its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from edgerouter.config.model import ConfiguredSink, ConfiguredSource
from edgerouter.errors import EdgerouterError
from edgerouter.pipeline.intake import Intake
from edgerouter.pipeline.pauses import Pauses
from edgerouter.pipeline.runner import Runner
from edgerouter.spool.contract import Spool
from edgerouter.tasks.bounded import CLOSING_SECONDS, ended
from edgerouter.topics import Matcher

Running = TypeVar("Running")

_MOST_NAMES: Final = 20
_LONGEST_NAME: Final = 100
"""Bounds of an error's text, in names and characters."""

log = structlog.get_logger("edgerouter.steering")


class RunningSink(msgspec.Struct):
    """A sink that runs."""

    configured: ConfiguredSink
    runner: Runner
    matcher: Matcher
    task: asyncio.Task[None]


class RunningSource(msgspec.Struct):
    """A source that runs."""

    configured: ConfiguredSource
    intake: Intake
    task: asyncio.Task[None]


class Pause(msgspec.Struct, frozen=True):
    """Result of a pause or of its end."""

    changed: bool
    """False: it was so before."""
    at_rest: bool
    """False: a write, or the closing of the source, still runs."""
    kept: bool
    """False: the next start will not know, because the spool's folder cannot be written."""


class Drained(msgspec.Struct, frozen=True):
    """Result of a drain."""

    left: dict[str, int]
    """Messages that stay in the spool, by sink; sinks that need nothing are left out."""
    dead_letters: int
    seconds: float


class NoSuchPart(EdgerouterError):
    """The router has no sink, or no source, of a name.

    Args:
        kind: `sink` or `source`.
        name: asked for; it comes from outside.
        known: names that the router has.
    """

    def __init__(self, kind: str, name: str, known: Collection[str]) -> None:
        names = ", ".join(islice(known, _MOST_NAMES)) or "none"
        more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
        super().__init__(f"{name[:_LONGEST_NAME]!r} is not a {kind} of this router; those are: {names}{more}")


async def deliver_rest(spool: Spool | None, *, left: Callable[[], bool], ends: Callable[[], bool]) -> None:
    """Return once nothing is left to deliver.

    What the other routers of a shared spool can deliver is left to them: they append for ever, so nothing else would end.

    Args:
        spool: whose sinks deliver what they have.
        left: returns True while they have something.
        ends: returns True where time is over.
    """
    handing = asyncio.create_task(spool.hand_over(), name="hand over") if spool is not None else None
    # polling is simpler than an event from every place that settles, and this is not a hot path
    while not ends() and ((handing is not None and not handing.done()) or left()):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    if handing is not None:
        handing.cancel()


class Steering:
    """Steers the sinks and sources of one router.

    Args:
        sinks: that run, by name; changes with the configuration.
        sources: likewise.
        changing: held while another configuration takes their place.
    """

    def __init__(self, sinks: Mapping[str, RunningSink], sources: Mapping[str, RunningSource], changing: asyncio.Lock) -> None:
        self._sinks = sinks
        self._sources = sources
        self._pauses = Pauses(None)
        self._changing = changing
        self._writing = asyncio.Lock()
        self._drain: asyncio.Task[Drained] | None = None
        self._drain_until: float | None = None
        self._spool: Spool | None = None
        self._stop = asyncio.Event()

    def begin(self, spool: Spool, folder: Path | None, stop: asyncio.Event) -> None:
        """Read which sinks and sources were paused before the start.

        Args:
            spool: of the router.
            folder: that keeps the pauses; `None` = they end with the process.
            stop: is set once the router is drained; set by another party it ends a drain.
        """
        self._spool = spool
        self._pauses = Pauses(folder)
        self._stop = stop

    @property
    def draining(self) -> bool:
        """The router accepts no more messages, and ends once it has delivered those in its spool."""
        return self._drain is not None

    def started_sink(self, name: str, runner: Runner) -> None:
        """Pause a sink that starts, where an operator has paused it before."""
        if name in self._pauses.sinks:
            log.warning("sink starts paused, as an operator left it; `edgerouter resume` ends that", sink=name)
            runner.pause()

    def started_source(self, name: str, intake: Intake) -> None:
        """Pause a source that starts, where an operator has paused it before."""
        if name in self._pauses.sources:
            log.warning("source starts paused, as an operator left it; `edgerouter resume` ends that", source=name)
            intake.pause()

    async def pause_sink(self, name: str) -> Pause:
        """Let the writes of a sink end, and start no more; its messages wait in the spool.

        Raises:
            NoSuchPart: there is no such sink.
        """
        runner = _named("sink", name, self._sinks).runner
        changed, kept = await self._keep(self._pauses.sinks, name, paused=True)
        runner.pause()
        if changed:
            log.info("sink paused by an operator", sink=name)
        return Pause(changed, await runner.until_at_rest(), kept)

    async def resume_sink(self, name: str) -> Pause:
        """Deliver to a paused sink again.

        Raises:
            NoSuchPart: there is no such sink.
        """
        runner = _named("sink", name, self._sinks).runner
        changed, kept = await self._keep(self._pauses.sinks, name, paused=False)
        runner.resume()
        if changed:
            log.info("sink resumed by an operator", sink=name)
        return Pause(changed, at_rest=False, kept=kept)

    async def pause_source(self, name: str) -> Pause:
        """Store and acknowledge what a source has received, then close it: its broker, or its senders, keep the rest.

        Raises:
            NoSuchPart: there is no such source.
        """
        intake = _named("source", name, self._sources).intake
        changed, kept = await self._keep(self._pauses.sources, name, paused=True)
        intake.pause()
        if changed:
            log.info("source paused by an operator", source=name)
        return Pause(changed, await intake.until_at_rest(), kept)

    async def resume_source(self, name: str) -> Pause:
        """Open a paused source again.

        Raises:
            NoSuchPart: there is no such source.
            EdgerouterError: the router drains.
        """
        intake = _named("source", name, self._sources).intake
        if self.draining:
            raise EdgerouterError("the router drains before it ends, so it receives nothing more")
        changed, kept = await self._keep(self._pauses.sources, name, paused=False)
        intake.resume()
        if changed:
            log.info("source resumed by an operator", source=name)
        return Pause(changed, at_rest=False, kept=kept)

    async def _keep(self, names: set[str], name: str, *, paused: bool) -> tuple[bool, bool]:
        """Write the file; return whether that changed it, and whether the next start will know."""
        async with self._writing:
            changed = (name in names) != paused
            names ^= {name} if changed else set()
            return changed, await asyncio.to_thread(self._pauses.save)

    async def drain(self, timeout: float | None = None) -> Drained:  # noqa: ASYNC109  (a bound, not a failure)
        """Accept no more messages, deliver what the spool holds, then let the router end.

        A second call waits for the same drain, and may only shorten it.

        Args:
            timeout: seconds after which the router ends with what is left in the spool; `None` = it takes as long as it takes.
        """
        until = None if timeout is None else time.monotonic() + timeout
        if until is not None:
            self._drain_until = until if self._drain_until is None else min(until, self._drain_until)
        if self._drain is None:
            self._drain = asyncio.create_task(self._drained(), name="drain")
        return await asyncio.shield(self._drain)

    async def _drained(self) -> Drained:
        started = time.monotonic()
        log.info("draining: no more messages are accepted", left=self._left())
        try:
            async with self._changing:  # a change in progress would start sources that nothing stops
                for source in self._sources.values():
                    source.intake.stop()
            await ended([source.task for source in self._sources.values()], timeout=CLOSING_SECONDS)
            for sink in self._sinks.values():
                sink.runner.drain()
            await deliver_rest(self._spool, left=self._deliverable, ends=self._ends)
        finally:
            self._stop.set()
        left = self._left()
        dead_letters = 0 if self._spool is None else self._spool.status.dead_letters
        log.info("drained" if not left else "draining ended with messages in the spool", left=left, dead_letters=dead_letters)
        return Drained(left, dead_letters, time.monotonic() - started)

    def _ends(self) -> bool:
        return self._stop.is_set() or (self._drain_until is not None and time.monotonic() >= self._drain_until)

    def _deliverable(self) -> bool:
        return any(not sink.runner.paused and _waiting(sink.runner) for sink in self._sinks.values())

    def _left(self) -> dict[str, int]:
        left = {name: _waiting(sink.runner) for name, sink in self._sinks.items()}
        if self._spool is not None:
            held = self._spool.ledgers
            left |= {name: held[name].pending + held[name].uncounted for name in self._spool.status.orphans if name in held}
        return {name: messages for name, messages in left.items() if messages}


def _waiting(runner: Runner) -> int:
    ledger = runner.reader.ledger
    return ledger.pending + ledger.uncounted


def _named(kind: str, name: str, running: Mapping[str, Running]) -> Running:
    found = running.get(name)
    if found is None:
        raise NoSuchPart(kind, name, running)
    return found
