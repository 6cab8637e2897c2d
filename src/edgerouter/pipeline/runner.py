"""The runner: one per configured sink; opens it, gathers batches, delivers them, and starts over when the sink fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import structlog

from edgerouter.blocking import SinkOpener
from edgerouter.config.model import BatchPolicy, ConfiguredSink
from edgerouter.errors import Unavailable
from edgerouter.pipeline.batching import Gatherer
from edgerouter.pipeline.delivery import Delivery, ReopenSink
from edgerouter.pipeline.halt import Halt, Halted
from edgerouter.pipeline.ready import Batch
from edgerouter.pipeline.shaping.chain import Chain
from edgerouter.pipeline.shaping.reader import ShapedReader
from edgerouter.pipeline.status import DeliveryStatus
from edgerouter.pipeline.tap import SinkTaps, itself
from edgerouter.pipeline.tracing import Tracing
from edgerouter.sink import Sink, SinkConfig, SinkContext
from edgerouter.spool.contract import Reader
from edgerouter.tasks.backoff import full_jitter
from edgerouter.tasks.bounded import CLOSING_SECONDS, ClosingInTime
from edgerouter.tasks.outage import longest_delay
from edgerouter.telemetry.spans import Spans

log = structlog.get_logger("edgerouter.runner")


class Runner:
    """Delivers what one sink wants, independently of every other sink.

    Args:
        configured: the sink.
        reader: its place in the spool.
        context: given to the sink when it opens.
        resolve: the plugin's configuration with secrets read now.
        steps: of the sink, if it has any.
        spans: gets the sampled writes, if they are traced.
        taps: show what goes to the sink.
    """

    def __init__(
        self,
        configured: ConfiguredSink,
        reader: Reader,
        context: SinkContext,
        resolve: Callable[[], Awaitable[SinkConfig]],
        steps: Chain | None = None,
        *,
        spans: Spans | None = None,
        taps: SinkTaps | None = None,
    ) -> None:
        self.configured = configured
        self.steps = steps
        taps = taps or SinkTaps()
        self._shaped = ShapedReader(reader, self.steps, str(configured.digest), taps.before) if self.steps is not None else None
        # without steps, messages are written as they are stored
        self._taps = (taps.before, taps.after) if self._shaped is None else (taps.after,)
        self.reader: Reader = self._shaped or reader
        self.status = DeliveryStatus()
        self._opener = SinkOpener(configured.plugin)
        self._context = context
        self._resolve = resolve
        self._halt = Halt()
        self._delivery = Delivery(configured, self.reader, self.status, self._halt, Tracing(configured, spans))
        self._workers = configured.policies.concurrency
        self._in_flight: list[Batch | None] = [None] * self._workers
        self._kept: list[Batch] = []
        self._gatherer: Gatherer | None = None
        self._draining = False

    async def _work(self, worker: int, gatherer: Gatherer, sink: Sink[Any]) -> None:
        """Read, batch, deliver, settle: the loop of one worker, for as long as the sink is open."""
        while True:
            # read from the position, keep what the filters match, fill a batch within the policy and the sink's limits
            with self._halt.interruptible():
                batch = await gatherer.next(worker)
            self._in_flight[worker] = batch
            self._show(batch)
            # write, retry what is left after a back-off, dead-letter what is rejected; settle each message
            await self._delivery.deliver(sink, batch)
            self._in_flight[worker] = None

    async def run(self) -> None:
        """Deliver until cancelled. What is not settled then stays in the spool."""
        self._kept = [Batch(messages, None, kept=True) for messages in await self.reader.kept_batches()]
        failures = 0
        since = 0.0
        try:
            while True:
                if self._halt.asked:
                    await self._stay_paused()
                delivered_at = self.status.last_delivery_at
                try:
                    await self._serve_opened()
                except (ReopenSink, Halted):
                    continue
                except Unavailable as error:
                    cause = error
                except Exception as error:
                    log.exception("sink failed with an error that it should not raise", sink=self.configured.name)
                    cause = Unavailable(f"bug in the sink plugin: {type(error).__name__}: {error}")
                failures = 1 if self.status.last_delivery_at != delivered_at else failures + 1
                now = asyncio.get_running_loop().time()
                since = now if failures == 1 else since
                retry = self.configured.policies.retry
                max_delay = longest_delay(cause, now - since, retry.max_delay)
                delay = full_jitter(failures, retry.first_delay, max_delay, cause.retry_after)
                self._delivery.failed(cause, delay)
                with suppress(Halted), self._halt.interruptible():
                    await asyncio.sleep(delay)
        finally:
            self.status.state = "stopped"
            if self._shaped is not None:
                self._shaped.close()

    async def _serve_opened(self) -> None:
        """Open the sink and run its workers until one of them fails."""
        async with ClosingInTime(self.configured.name) as stack:
            sink = await self._open(stack)
            while self._kept:
                await self._deliver_kept(sink)
            gatherer = self._gatherer = Gatherer(self.reader, sink, self._batch_policy(), self._workers)
            if self._draining:
                gatherer.stop_lingering()
            if self.status.state == "starting":
                self.status.state = "ok"
            tasks = [
                asyncio.create_task(self._work(worker, gatherer, sink), name=f"deliver {self.configured.name} {worker}")
                for worker in range(self._workers)
            ]
            try:
                done, writing = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if self._halt.asked and writing:
                    await asyncio.wait(writing)
                for task in done:
                    task.result()
            finally:
                await self._end(tasks, gatherer)

    async def _stay_paused(self) -> None:
        """Wait, closed, until the operator resumes; what is not settled is in the spool."""
        self.status.state = "paused"
        await self._halt.over()
        self.status.state = "starting"

    async def _open(self, stack: AsyncExitStack) -> Sink[Any]:
        seconds = self.configured.policies.timeout
        try:
            async with asyncio.timeout(seconds):
                config = await self._resolve()
                return await stack.enter_async_context(self._opener.open(config, self._context))
        except TimeoutError as error:
            raise Unavailable(f"could not be opened within {seconds:g} s") from error

    async def _deliver_kept(self, sink: Sink[Any]) -> None:
        batch = self._kept[0]
        batch.messages = [message for message in batch.messages if self.reader.is_pending(message)]
        if batch.messages:
            self._show(batch)
            await self._delivery.deliver(sink, batch)
        self._kept.pop(0)

    def _show(self, batch: Batch) -> None:
        for tap in self._taps:
            if tap.looks:
                tap.show(batch.messages, itself if self._shaped is None else self._shaped.stored)

    async def _end(self, tasks: list[asyncio.Task[None]], gatherer: Gatherer) -> None:
        """Stop all workers; what they had not settled goes back to the reader, or stays one batch where that matters."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._gatherer = None
        for worker, batch in enumerate(self._in_flight):
            self._in_flight[worker] = None
            if batch is None:
                continue
            if batch.kept:
                self._kept.append(batch)
            else:
                self.reader.give_back([message for message in batch.messages if self.reader.is_pending(message)])
        gatherer.give_back()

    def _batch_policy(self) -> BatchPolicy:
        """The user's `batch`, clipped so that one write is at most about a second's worth of `rate`."""
        policies = self.configured.policies
        batch = policies.batch
        if policies.rate.messages is not None:
            batch = batch.model_copy(update={"max_messages": max(1, min(batch.max_messages, int(policies.rate.messages)))})
        if policies.rate.bytes is not None:
            batch = batch.model_copy(update={"max_bytes": max(1, min(batch.max_bytes, policies.rate.bytes))})
        return batch

    @property
    def paused(self) -> bool:
        """An operator paused it. A write may still run: see `until_at_rest`."""
        return self._halt.lasts

    def pause(self) -> None:
        """Start no more writes, and close the sink once those that run have ended; until `resume`."""
        self._halt.ask()
        self._halt.interrupt()

    def resume(self) -> None:
        """Open the sink again, and deliver what is pending."""
        self._halt.lift()

    async def until_at_rest(self) -> bool:
        """Return True once a paused sink is closed, False if a write takes longer than the sink's `timeout`."""
        return await self._halt.until_at_rest(self.configured.policies.timeout + CLOSING_SECONDS)

    @property
    def drained(self) -> bool:
        """Nothing is left to do, or nothing can be done now because the sink does not take it."""
        ledger = self.reader.ledger
        # what a step holds for a later result stays in the spool
        held = 0 if self._shaped is None else self._shaped.held
        waiting = ledger.pending + ledger.uncounted > held
        return not waiting or self.paused or self.status.state not in ("starting", "ok")

    @property
    def patience(self) -> float:
        """Seconds that a sink in order may take with a message: to fill a batch, to be allowed to write, and to write."""
        policies = self.configured.policies
        rate = policies.rate.messages
        held = 0.0 if self.steps is None else self.steps.patience
        return held + policies.batch.linger + policies.timeout + (1 / rate if rate is not None else 0.0)

    def drain(self) -> None:
        """The router is stopping: do not linger for fuller batches."""
        self._draining = True
        if self._gatherer is not None:
            self._gatherer.stop_lingering()
