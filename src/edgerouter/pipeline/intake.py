"""Intake: take what a source has gathered, store it in one commit, and so on; it never waits for a sink."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import msgspec
import structlog

from edgerouter.errors import EdgerouterError, Unavailable
from edgerouter.masking import mask
from edgerouter.pipeline.halt import Halt, Halted
from edgerouter.pipeline.routing import Routing
from edgerouter.pipeline.shaping.chain import Chain
from edgerouter.pipeline.silence import Silence
from edgerouter.pipeline.tap import TapPoint
from edgerouter.source import Delivery, Source
from edgerouter.spool.contract import Spool
from edgerouter.tasks.backoff import full_jitter
from edgerouter.tasks.bounded import CLOSING_SECONDS
from edgerouter.tasks.waiting import give, wait

AnySource = Source[Any]
OpenSource = Callable[[], AbstractAsyncContextManager[AnySource]]

PAUSED = "paused by an operator"
"""Reason for not being connected."""

log = structlog.get_logger("edgerouter.intake")


class IntakeStatus(msgspec.Struct):
    """A source's numbers since the start."""

    connected: bool = False
    reason: str = "starting"
    """Why it is not connected; empty when it is."""
    messages: int = 0
    deliveries: int = 0
    filtered: int = 0
    """Left out by a step of the source, so never stored."""
    last_message_at: float | None = None
    """Wall-clock seconds of the last delivery."""
    reopened: int = 0
    paused: bool = False
    """An operator paused it."""


class Intake:
    """Moves one source's deliveries into the spool, a group at a time.

    While one commit runs the source gathers the next group, and after a commit it gathers for the rest of `commit_interval`, unless
    its sender waits for acknowledgements (`flush_now`). So a message after a quiet time is stored at once, and under load one
    commit takes many.

    Args:
        name: of the source.
        spool: where the messages go.
        routing: the present routing.
        commit_interval: seconds.
        routing_settled: clear while the routing changes; then nothing is stored.
        steps: of the source, before anything is stored.
        silence: gets the topics of each delivery.
        tap: shows what is stored.
    """

    def __init__(
        self,
        name: str,
        spool: Spool,
        routing: Callable[[], Routing],
        commit_interval: float,
        routing_settled: asyncio.Event | None = None,
        *,
        steps: Chain | None = None,
        silence: Silence | None = None,
        tap: TapPoint | None = None,
    ) -> None:
        self.status = IntakeStatus()
        self._tap = tap or TapPoint()
        self._name = name
        self._spool = spool
        self._routing = routing
        self._commit_interval = commit_interval
        self.steps = steps
        self.silence = silence
        self._repeated = 0
        self._flush = False
        self._waiting: asyncio.Future[None] | None = None
        if routing_settled is None:
            routing_settled = asyncio.Event()
            routing_settled.set()
        self._routing_settled = routing_settled
        self._stopping = False
        self._halt = Halt()
        self._source: AnySource | None = None

    @property
    def repeated(self) -> int:
        """Messages that came again and were recognised, since the start."""
        return self._repeated + (self._source.repeated if self._source is not None else 0)

    @property
    def oldest_unacknowledged_seconds(self) -> float | None:
        """Age of the oldest message that the source has not acknowledged; `None` while it is closed, or does not know."""
        return self._source.oldest_unacknowledged_seconds if self._source is not None else None

    @property
    def fence_age_seconds(self) -> float | None:
        """Age of the oldest acknowledgement that the sender may not have read; `None` while it is closed, or does not know."""
        return self._source.fence_age_seconds if self._source is not None else None

    def flush_now(self) -> None:
        """Commit what the source has gathered, without waiting for the interval."""
        self._flush = True
        if self._waiting is not None:
            give(self._waiting)

    def connected(self, connected: bool, reason: str) -> None:
        """The source says whether it is connected."""
        if self.status.paused:
            return
        self.status.connected = connected
        self.status.reason = "" if connected else mask(reason)

    def stop(self) -> None:
        """Receive nothing more; `run` ends once everything that has arrived is stored."""
        self._stopping = True
        self._halt.lift()
        self._end_deliveries()

    def pause(self) -> None:
        """Store and acknowledge what has arrived, then close the source until `resume`."""
        self.status.connected = False
        self.status.reason = PAUSED
        self.status.paused = True
        self._halt.ask()
        self._end_deliveries()

    def resume(self) -> None:
        """Open the source again."""
        if self.status.paused:
            self.status.paused = False
            self.status.reason = "starting"
            self._halt.lift()

    async def until_at_rest(self) -> bool:
        """Return True once a paused source is closed. One that does not end by itself in time is cancelled."""
        if await self._halt.until_at_rest(CLOSING_SECONDS):
            return True
        self._halt.interrupt()
        return await self._halt.until_at_rest(CLOSING_SECONDS)

    def _end_deliveries(self) -> None:
        self.flush_now()
        if self._source is not None:
            self._source.stop()

    async def run(self, open_source: OpenSource) -> None:
        """Open the source and store what it delivers, for ever; after a failure open it again with back-off."""
        async with nullcontext() if self.silence is None else self.silence.watching(lambda: self.status.connected):
            await self._run(open_source)

    async def _run(self, open_source: OpenSource) -> None:
        failures = 0
        while not self._stopping:
            if self._halt.asked:
                await self._halt.over()
                continue
            before, asked = self.status.messages, None
            try:
                with self._halt.interruptible():
                    async with open_source() as source:
                        self._source = source
                        await self._store(source)
                if self._stopping or self._halt.asked:
                    continue
                reason = "the source ended by itself"
            except Unavailable as error:
                reason, asked = str(error), error.retry_after
            except Halted:
                continue
            except EdgerouterError:
                raise
            except Exception as error:  # whatever a plugin raises must not end the router
                log.exception("source failed with an error that it should not raise", source=self._name)
                reason = f"{type(error).__name__}: {error}"
            finally:
                self._repeated, self._source = self.repeated, None
            failures = 1 if self.status.messages > before else failures + 1
            delay = full_jitter(failures, first_delay=0.5, max_delay=60.0, at_least=asked)
            self.connected(False, reason)
            log.warning(
                "source unavailable, will open it again",
                source=self._name,
                reason=reason,
                seconds=round(delay, 1),
                next="nothing if its other side is down; else correct what the reason names",
            )
            self.status.reopened += 1
            self._flush = False
            await self._wait(delay)

    async def _store(self, source: AnySource) -> None:
        if self._stopping or self._halt.asked:
            source.stop()
        async for delivery in source.deliveries():
            started = time.monotonic()
            self._flush = False
            if self.silence is not None:
                self.silence.heard(delivery.messages)
            if self.steps is not None:
                delivery = self._shaped(delivery, self.steps)  # noqa: PLW2901  (the delivery as it is stored)
            messages = delivery.messages
            if not messages:
                delivery.acknowledge()  # nothing of it is stored, and everything before it is
                await self._wait(started + self._commit_interval - time.monotonic())
                continue
            if not self._routing_settled.is_set():
                await self._routing_settled.wait()
            await self._spool.append(self._name, delivery, self._routing().wanted(messages))
            if self._tap.looks:
                self._tap.show(messages)
            status = self.status
            status.messages += len(messages)
            status.deliveries += 1
            status.last_message_at = time.time()
            await self._wait(started + self._commit_interval - time.monotonic())

    def _shaped(self, delivery: Delivery, steps: Chain) -> Delivery:
        """Return the delivery as the steps leave it."""
        items = steps.apply(delivery.messages).items
        if len(items) == len(delivery.messages) and not any(item.message is not item.original for item in items):
            return delivery
        self.status.filtered += len(delivery.messages) - len({id(item.original) for item in items})
        return delivery.shaped([item.message for item in items])

    async def _wait(self, seconds: float) -> None:
        """Wait so long, or until something has to be committed at once."""
        if seconds <= 0 or self._stopping or self._flush or self._halt.asked:
            return
        self._waiting = asyncio.get_running_loop().create_future()
        await wait(self._waiting, seconds)
