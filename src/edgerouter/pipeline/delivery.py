"""Delivery: write one batch until every message of it is settled: delivered, dead-lettered, or given back at the end of the run."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import structlog

from edgerouter.config.model import ConfiguredSink, RetryPolicy
from edgerouter.errors import EdgerouterError, Rejected, Throttled, Unauthorized, Unavailable, WouldLoop
from edgerouter.message import Message
from edgerouter.pipeline.attempts import Attempts, Part
from edgerouter.pipeline.concurrency import ConcurrencyLimiter
from edgerouter.pipeline.halt import Halt, Halted
from edgerouter.pipeline.outcome import Sorted, reason_of, sort_out
from edgerouter.pipeline.rate import RateLimit
from edgerouter.pipeline.ready import Batch
from edgerouter.pipeline.status import LATENCY_BOUNDS, NEXT_STEPS, DeliveryStatus, State
from edgerouter.pipeline.tracing import Tracing
from edgerouter.sink import Sink
from edgerouter.spool.contract import Reader, Rejection
from edgerouter.tasks.backoff import full_jitter
from edgerouter.tasks.bounded import Bounded, NoAnswer, StuckCall
from edgerouter.tasks.outage import longest_delay

log = structlog.get_logger("edgerouter.delivery")
_LEVEL = logging.getLogger("edgerouter.delivery")

ATTEMPTS_BEFORE_REOPEN = 3
"""Failed attempts for want of credentials, permission or destination, before the sink is opened anew."""

UNANSWERED_BEFORE_LESS = 2
"""Writes of the same messages that ran into the time-out, before the first half of them is tried alone."""

MOST_RECEIPTS = 10
"""Receipts that the line of a delivered batch shows, from its first message on."""

LOOP = "loop"
"""Reason of a drop: the message would circle."""

_SEQUENCE = attrgetter("sequence")


class ReopenSink(Exception):
    """Not an error: asks the runner to leave `open` and enter it again, with secrets read anew."""


class Delivery:
    """Writes batches of one sink: retry, bisection, dead letters; shared by all workers of the sink."""

    def __init__(self, configured: ConfiguredSink, reader: Reader, status: DeliveryStatus, halt: Halt, tracing: Tracing) -> None:
        policies = configured.policies
        self._name = configured.name
        self._digest = configured.digest
        self._bounded = Bounded(configured.name, policies.timeout)
        self._retry: RetryPolicy = policies.retry
        self._reader = reader
        self._status = status
        self._halt = halt
        self._tracing = tracing
        self._bug_logged = False
        self._throttled_until = 0.0
        self._limiter = ConcurrencyLimiter(policies.concurrency)
        self._rate = RateLimit(policies.rate, time.monotonic) if policies.rate.messages or policies.rate.bytes else None

    async def deliver(self, sink: Sink[Any], batch: Batch) -> None:
        """Settle every message of a batch.

        Raises:
            ReopenSink: the sink should be opened anew.
            Halted: the sink is paused.

        What is not settled then is left in the batch.
        """
        attempts = Attempts(time.monotonic(), time.time_ns(), batch.messages, batch.size, sink.stable_batches)
        if batch.too_large:
            limit = sink.limits.max_message_bytes or sink.limits.max_bytes
            reason = Rejected(f"{batch.size} bytes are over this sink's limit of {limit} bytes a message")
            await self._dead_letter(Part(batch.messages), reason, attempts)
            return
        # what one write rejects is halved, and stays so over later failures: else a service that fails now and then would be led
        # through the halving from its beginning each time, and might never reach its end
        parts = [Part(batch.messages, uncertain=batch.kept)]
        try:
            if sink.stable_batches and not batch.kept:
                # a batch comes back in the order of its numbers, and has to be the same then
                batch.messages.sort(key=_SEQUENCE)
                await self._reader.keep_batch(batch.messages)
                batch.kept = True
            while parts:
                cause = await self._write(sink, parts, attempts)
                if attempts.rejected and (cause is not None or not parts or attempts.rejected_enough):
                    await self._settle_rejected(attempts.take_rejected())
                if cause is None:
                    attempts.failures = attempts.unanswered = 0
                elif parts:
                    await self._after_failure(parts, cause, attempts)
        except (asyncio.CancelledError, ReopenSink, Halted):
            batch.messages = [
                *(rejection.message for rejection in attempts.rejected),
                *(m for part in parts for m in part.messages),
            ]
            raise

    async def _write(self, sink: Sink[Any], parts: list[Part], attempts: Attempts) -> Unavailable | None:
        """One attempt with the first part: what is left of it takes its place. Returns why something is left to be tried again."""
        part = parts[0]
        try:
            found = await self._call(sink, part, attempts)
        except Unavailable as error:
            part.uncertain = True
            return error
        except Rejected as error:
            return await self._rejected(sink, parts, error, attempts)
        except Halted:
            raise
        except Exception as error:  # noqa: BLE001  (whatever a plugin raises must not end the router)
            part.uncertain = True
            return await self._plugin_bug(sink, parts, error, attempts)
        self._delivered(found.delivered, found.receipts)
        if found.circling:
            self._reader.dropped(found.circling, LOOP)
        if found.rejected:
            await self._settle_rejected([self._rejection(message, error, part, attempts) for message, error in found.rejected])
        if found.delivered or found.rejected:
            attempts.failures = 0  # one that throttles takes some of each write, and is not to be waited for longer each time
        parts[:1] = [Part(found.left, part.writes, part.uncertain or found.uncertain)] if found.left else []
        return found.cause

    async def _call(self, sink: Sink[Any], part: Part, attempts: Attempts) -> Sorted:
        """Call `write` within the rate, the concurrency limiter and the time-out, and sort the messages by its outcome."""
        messages = part.messages
        size = attempts.size
        if size is None or messages is not attempts.batch:
            size = sum(map(sink.size_of, messages))
        with self._halt.interruptible():
            if self._rate is not None:
                await self._rate.acquire(len(messages), size)
            await self._limiter.acquire()
        status = self._status
        part.writes += 1
        status.writes += 1
        status.written_messages += len(messages)
        status.written_bytes += size
        try:
            outcome = await self._tracing.call(messages, size, lambda: self._bounded.call(lambda: sink.write(messages)))
        except BaseException:
            status.failed_writes += 1
            raise
        finally:
            self._limiter.release()
        found = sort_out(messages, outcome)
        status.failed_writes += found.failed
        return found

    async def _rejected(self, sink: Sink[Any], parts: list[Part], error: Rejected, attempts: Attempts) -> Unavailable | None:
        """Halve the first part, unless the whole of it is stored. Returns why that could not be found out."""
        part = parts[0]
        if part.uncertain:
            try:
                stored = await self._bounded.call(lambda: sink.holds(part.messages))
            except Unavailable as unanswered:
                return unanswered
            except Exception:  # noqa: BLE001  (a bug there must not keep a bad message from being found)
                stored = False
            if stored:
                self._delivered(part.messages)
                del parts[0]
                return None
        self._halve(parts, error, attempts)
        return None

    def _halve(self, parts: list[Part], error: Rejected, attempts: Attempts) -> None:
        """Find the messages that the service never takes by halving: about 2 log2(n) writes for one in n."""
        part = parts[0]
        if len(part.messages) == 1 and isinstance(error, WouldLoop):
            self._reader.dropped(part.messages, LOOP)
            del parts[0]
        elif len(part.messages) == 1:
            attempts.reject(self._rejection(part.messages[0], error, part, attempts))
            del parts[0]
        else:
            parts[:1] = part.halves()

    async def _plugin_bug(self, sink: Sink[Any], parts: list[Part], error: Exception, attempts: Attempts) -> Unavailable | None:
        """An exception that a sink should not raise: traceback once, a bounded number of attempts, then isolate and dead-letter."""
        attempts.bugs += 1
        if not self._bug_logged:
            self._bug_logged = True
            log.error("sink failed with an error that it should not raise", sink=self._name, exc_info=error)
        described = f"{type(error).__name__}: {error}"
        if attempts.bugs < self._retry.plugin_bug_attempts:
            return Unavailable(f"bug in the sink plugin: {described}")
        return await self._rejected(sink, parts, _PluginBug(described), attempts)

    async def _after_failure(self, parts: list[Part], cause: Unavailable, attempts: Attempts) -> None:
        """Note the failure and wait for the next attempt; what is given up on is dead-lettered."""
        attempts.failures += 1
        give_up = self._retry.give_up_after
        if give_up is not None and time.monotonic() - attempts.started >= give_up:
            while parts:
                await self._dead_letter(parts[0], cause, attempts)
                del parts[0]
            return
        max_delay = longest_delay(cause, time.monotonic() - attempts.started, self._retry.max_delay)
        delay = full_jitter(attempts.failures, self._retry.first_delay, max_delay, cause.retry_after)
        self.failed(cause, delay)
        if cause.retry_after is not None:
            self._limiter.hold(delay)  # it asked all of us to wait, not only this worker
        if isinstance(cause, Throttled):
            self._limiter.throttled()
            self._count_throttled(delay)
        self._shrink(parts, cause, attempts)
        with self._halt.interruptible():
            await asyncio.sleep(delay)
        if isinstance(cause, StuckCall) or (isinstance(cause, Unauthorized) and attempts.failures >= ATTEMPTS_BEFORE_REOPEN):
            raise ReopenSink

    def _count_throttled(self, delay: float) -> None:
        """Count the time in which writes wait because of throttling, once where several workers wait at the same time."""
        now = time.monotonic()
        until = now + delay
        self._status.throttled_seconds += max(0.0, until - max(now, self._throttled_until))
        self._throttled_until = max(until, self._throttled_until)

    def _shrink(self, parts: list[Part], cause: Unavailable, attempts: Attempts) -> None:
        """A write that gets no answer again and again may be more than the link carries in that time: try with less.

        Not where a batch is one object: half of it, beside the whole that may have arrived, would be there twice.
        """
        attempts.unanswered = attempts.unanswered + 1 if isinstance(cause, NoAnswer) else 0
        if attempts.unanswered >= UNANSWERED_BEFORE_LESS and not attempts.stable and len(parts[0].messages) > 1:
            attempts.unanswered = 0
            parts[:1] = parts[0].halves()

    def failed(self, cause: Unavailable, delay: float) -> None:
        """Show a failure in the status, and log it when it is news."""
        status = self._status
        state: State = "retrying"
        if isinstance(cause, Throttled):
            state = "throttled"
        elif isinstance(cause, Unauthorized):
            state = "unauthorized"
        reason = reason_of(cause)
        if state != status.state or reason != status.last_error:
            seconds = round(delay, 1)
            log.warning("sink cannot deliver", sink=self._name, state=state, reason=reason, seconds=seconds, next=NEXT_STEPS[state])
        status.state = state
        status.last_error = reason
        status.last_error_at = time.time()

    def _delivered(self, messages: list[Message], receipts: Sequence[str] | str | None = None) -> None:
        if not messages:
            return
        if _LEVEL.isEnabledFor(logging.DEBUG):  # a batch may be one message, and the line costs more than this question
            shown = receipts if receipts is None or isinstance(receipts, str) else list(receipts[:MOST_RECEIPTS])
            log.debug("batch delivered", sink=self._name, messages=len(messages), first=messages[0].id, receipts=shown)
        self._reader.delivered(messages)
        self._limiter.succeeded()
        status = self._status
        if status.state != "ok":
            if status.last_error_at is not None:
                log.info("sink delivers again", sink=self._name, after=status.last_error)
            status.state = "ok"
        now = time.time()
        status.last_delivery_at = now
        status.last_delivery = time.monotonic()
        status.latency = latency = max(0.0, now - messages[0].received_at / 1e9)
        status.latency_sum += latency * len(messages)
        bucket = next((index for index, bound in enumerate(LATENCY_BOUNDS) if latency <= bound), len(LATENCY_BOUNDS))
        status.latency_buckets[bucket] += len(messages)

    async def _dead_letter(self, part: Part, error: EdgerouterError, attempts: Attempts) -> None:
        await self._settle_rejected([self._rejection(message, error, part, attempts) for message in part.messages])

    async def _settle_rejected(self, rejections: list[Rejection]) -> None:
        first = rejections[0]
        await self._reader.dead_letter(rejections)
        log.warning(
            "messages dead-lettered", sink=self._name, messages=len(rejections), first=first.message.id, reason=first.reason
        )

    def _rejection(self, message: Message, error: EdgerouterError, part: Part, attempts: Attempts) -> Rejection:
        return Rejection(
            message=message,
            reason=reason_of(error),
            error="PluginBug" if isinstance(error, _PluginBug) else type(error).__name__,
            attempts=part.writes,
            first_attempt=attempts.started_at,
            config_digest=str(self._digest),
        )


class _PluginBug(Rejected):
    """This message makes the sink plugin fail."""
