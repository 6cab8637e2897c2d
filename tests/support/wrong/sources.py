"""Sources that lose messages, acknowledge too early, or hold up the router."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar, Self, cast

from pydantic import ConfigDict

from edgerouter import Delivery, Message, SourceContext
from support.wrong.catalogue import wrong
from support.wrong.honest_source import QueueConfig, QueueSource

LOOP = ("source", "test_the_event_loop_is_never_held_up", "await asyncio.to_thread")
WHOLE = ("source", "test_what_is_sent_comes_and_the_source_ends_when_it_is_stopped")
ACKNOWLEDGED = ("source", "test_the_sender_hears_of_it_after_the_commit_and_not_before")
LOGGED = ("source", "test_no_payload_and_no_secret_is_logged_or_printed")


@wrong(*LOOP)
class SlowToRead(QueueSource):
    """Sleeps for each message."""

    async def deliveries(self) -> AsyncIterator[Delivery]:
        async for delivery in super().deliveries():
            time.sleep(0.2)  # noqa: ASYNC251  (the fault)
            yield delivery


@wrong(*LOOP)
class SlowToAcknowledge(QueueSource):
    """Blocks in `acknowledge`."""

    def acknowledge(self) -> None:
        time.sleep(0.2)


@wrong(*WHOLE, "ends after `stop`")
class DeafToStop(QueueSource):
    """Runs on after `stop`."""

    def stop(self) -> None:
        """Do nothing."""


@wrong(*WHOLE, "messages were lost or changed")
class Stripping(QueueSource):
    """Changes payloads."""

    def message(self, payload: bytes) -> Message:
        return super().message(payload.replace(b" ", b""))


@wrong(*WHOLE, "messages came in another order")
class Reversing(QueueSource):
    """Gathers messages, and yields the last one first."""

    async def deliveries(self) -> AsyncIterator[Delivery]:
        gathered = []
        while (payload := await self.queue.waiting.get()) is not None:
            gathered.append(self.message(payload))
            if len(gathered) == 13:
                yield Delivery(gathered[::-1], self.acknowledge)


@wrong(*WHOLE, "at least one message")
class Empty(QueueSource):
    """Yields deliveries without a message."""

    async def deliveries(self) -> AsyncIterator[Delivery]:
        async for delivery in super().deliveries():
            yield Delivery([], lambda: None)
            yield delivery


@wrong(*WHOLE, "a payload is bytes")
class Mutable(QueueSource):
    """Gives its receive buffer away."""

    def message(self, payload: bytes) -> Message:
        return super().message(cast("bytes", bytearray(payload)))


@wrong(*WHOLE, "`received_at` is")
class InSeconds(QueueSource):
    """Counts time in seconds."""

    def message(self, payload: bytes) -> Message:
        return Message("t", payload, int(time.time()), 1)


@wrong(*WHOLE, "leave `sequence` as it is")
class Numbering(QueueSource):
    """Gives messages numbers that the spool gives."""

    def message(self, payload: bytes) -> Message:
        return Message("t", payload, time.time_ns(), 1, sequence=7)


@wrong(*WHOLE, "call `context.connected(True, '')`")
class Quiet(QueueSource):
    """Never reports that it is connected."""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: QueueConfig, context: SourceContext) -> AsyncIterator[Self]:
        yield cls(config, context)


@wrong(*ACKNOWLEDGED, "acknowledge in `Delivery.acknowledge` only")
class Early(QueueSource):
    """Acknowledges before the message is stored."""

    async def deliveries(self) -> AsyncIterator[Delivery]:
        async for delivery in super().deliveries():
            self.queue.acknowledged += 1
            yield Delivery(delivery.messages, lambda: None)


@wrong(*ACKNOWLEDGED, "`acknowledge` does not reach the sender")
class Never(QueueSource):
    """Never acknowledges."""

    def acknowledge(self) -> None:
        """Do nothing."""


@wrong("source", "test_an_acknowledgement_after_closing_does_nothing", "on a closed source does nothing")
class Fragile(QueueSource):
    """Cannot acknowledge on a connection that is gone."""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: QueueConfig, context: SourceContext) -> AsyncIterator[Self]:
        async with super().open(config, context) as source:
            yield source
            del source.queue


@wrong("source", "test_a_sender_that_is_faster_than_the_disk_makes_nothing_grow", "stop reading at a bound in bytes")
class Unbounded(QueueSource):
    """Reads as fast as it can, into a list."""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: QueueConfig, context: SourceContext) -> AsyncIterator[Self]:
        async with super().open(config, context) as source:
            source.__dict__["everything"] = everything = []

            async def read() -> None:
                while True:
                    everything.append(await source.queue.waiting.get())

            reading = asyncio.create_task(read(), name="read")
            try:
                yield source
            finally:
                reading.cancel()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        await asyncio.Event().wait()
        yield Delivery([], self.acknowledge)


@wrong("source", "test_a_cancelled_source_ends", "let CancelledError pass")
class Deaf(QueueSource):
    """Swallows its cancellation."""

    async def deliveries(self) -> AsyncIterator[Delivery]:
        with contextlib.suppress(asyncio.CancelledError):
            async for delivery in super().deliveries():
                yield delivery


@wrong("source", "test_a_source_opens_again_after_it_was_closed", "keep nothing outside of the object")
class Once(QueueSource):
    """Remembers in its class that it was stopped."""

    stopped: ClassVar[list[bool]] = []

    async def deliveries(self) -> AsyncIterator[Delivery]:
        async for delivery in super().deliveries():
            if self.stopped:
                return
            yield delivery

    def stop(self) -> None:
        self.stopped.append(True)
        super().stop()


@wrong("source", "test_closing_leaves_no_task_and_no_thread", "cancel your tasks")
class Background(QueueSource):
    """Leaves a task."""

    later: ClassVar[list[asyncio.Task[None]]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, config: QueueConfig, context: SourceContext) -> AsyncIterator[Self]:
        cls.later.append(asyncio.create_task(asyncio.sleep(60), name="background"))
        async with super().open(config, context) as source:
            yield source


@wrong("source", "test_closing_leaves_no_task_and_no_thread", "end your threads")
class Threaded(QueueSource):
    """Leaves a thread."""

    ended: ClassVar[list[threading.Event]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, config: QueueConfig, context: SourceContext) -> AsyncIterator[Self]:
        cls.ended.append(threading.Event())
        threading.Thread(target=cls.ended[-1].wait, name="reader", daemon=True).start()
        async with super().open(config, context) as source:
            yield source


@wrong("source", "test_a_look_says_that_the_source_is_let_in_beside_one_that_runs", "with `SourceContext.probe` nothing is taken")
class Greedy(QueueSource):
    """Takes messages when it should only look."""

    async def deliveries(self) -> AsyncIterator[Delivery]:
        if self.context.probe:
            yield Delivery([self.message(b"taken")], self.acknowledge)
        async for delivery in super().deliveries():
            yield delivery


@wrong(*LOGGED, "a payload is logged or printed")
class Debugging(QueueSource):
    """Logs payloads at level debug."""

    def message(self, payload: bytes) -> Message:
        logging.getLogger("queue").debug("got %s", payload)
        return super().message(payload)


@wrong(*LOGGED, "a secret is logged")
class Visible(QueueSource):
    """Shows a secret in its repr."""

    def __repr__(self) -> str:
        return f"Visible({self.config.password.get_secret_value()})"


class Plain(QueueConfig):
    """Has a secret that is none."""

    broker_password: str = ""
    """A field that sounds secret."""


@wrong("source", "test_the_configuration_never_shows_a_secret", "make these fields SecretStr")
class Unguarded(QueueSource):
    """Has a password that is plain text."""

    Config = Plain


class Loose(QueueConfig):
    """Takes every key."""

    model_config = ConfigDict(extra="ignore")


@wrong("source", "test_the_configuration_is_strict", "leave `extra`")
class Lenient(QueueSource):
    """Ignores a misspelt key."""

    Config = Loose
