"""Watches a running router and records as events what changes.

One look a second costs the walk of messages nothing, and bounds the events whatever a service or device does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

import structlog

from edgerouter.admin.running import RunningRouter
from edgerouter.pipeline.intake import IntakeStatus
from edgerouter.pipeline.status import DeliveryStatus
from edgerouter.tasks.beat import until_beat
from edgerouter.telemetry.events import Events, Level

LOOK_SECONDS: Final = 1.0

log = structlog.get_logger("edgerouter.app")

_LEVELS: Final[dict[str, Level]] = {"ok": "info", "starting": "info", "stopped": "info", "unauthorized": "error"}


class Watching:
    """Findings of one look, to compare the next one with.

    Args:
        router: watched from its start on.
    """

    def __init__(self, router: RunningRouter) -> None:
        self._router = router
        self._events: Events = router.events
        self._sinks: dict[str, tuple[str, str, float | None]] = {}
        self._sources: dict[str, tuple[bool, str, int]] = {}
        self._spool = ("ok", "")
        # losses of earlier runs are not news
        self._drops = self._dropped()
        self._letters = self._dead_lettered()

    async def run(self) -> None:
        """Look once a second; until cancelled."""
        while True:
            await asyncio.sleep(until_beat(LOOK_SECONDS))
            try:
                self.look()
            except Exception:  # no reason to end the router
                log.exception("events cannot be recorded")

    def look(self) -> None:
        """Record what has changed since the last look."""
        deliveries, intakes = dict(self._router.deliveries()), dict(self._router.intakes())
        for name in self._sinks.keys() - deliveries.keys():
            del self._sinks[name]
        for name in self._sources.keys() - intakes.keys():
            del self._sources[name]
        for name, delivery in deliveries.items():
            self._look_at_sink(name, delivery)
        for name, intake in intakes.items():
            self._look_at_source(name, intake)
        self._look_at_spool()
        self._look_at_losses()

    def _look_at_sink(self, name: str, now: DeliveryStatus) -> None:
        before, self._sinks[name] = self._sinks.get(name), (now.state, now.last_error, now.last_error_at)
        state, error, at = before or ("starting", "", None)
        if now.state == state and (now.last_error_at == at or (state != "ok" and now.last_error == error)):
            return
        if now.state == "ok" and state == "ok":
            text = f"failed and delivers again: {now.last_error}"
        elif now.state == "ok":
            text = "delivers" if now.last_error_at is None else "delivers again"
        else:
            text = now.last_error or now.state
        self._events.add("sink", name, text, level=_LEVELS.get(now.state, "warning"), state=now.state)

    def _look_at_source(self, name: str, now: IntakeStatus) -> None:
        before, self._sources[name] = self._sources.get(name), (now.connected, now.reason, now.reopened)
        connected, reason, reopened = before or (False, "starting", 0)
        if now.connected and (not connected or now.reopened != reopened):
            self._events.add("source", name, "connected", state="connected")
        elif not now.connected and (connected or now.reason != reason):
            self._events.add("source", name, now.reason, level="warning", state="disconnected")

    def _look_at_spool(self) -> None:
        status = self._router.spool.status
        before, self._spool = self._spool, (status.state, status.reason)
        if status.state != before[0]:
            level: Level = "info" if status.state == "ok" else "error"
            self._events.add("spool", "", status.reason or "accepts messages again", level=level, state=status.state)

    def _look_at_losses(self) -> None:
        drops = self._dropped()
        for (sink, reason), messages in (drops - self._drops).items():
            self._events.add("dropped", sink, reason, level="error", messages=messages)
        letters = self._dead_lettered()
        for sink, messages in (letters - self._letters).items():
            self._events.add("dead_lettered", sink, "a service did not accept these messages", level="error", messages=messages)
        self._drops, self._letters = drops, letters

    def _dropped(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for (sink, _, reason), messages in self._router.spool.drops.items():
            found[sink, reason] += messages
        return found

    def _dead_lettered(self) -> Counter[str]:
        return Counter({name: ledger.dead_lettered for name, ledger in self._router.spool.ledgers.items()})
