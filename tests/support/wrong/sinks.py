"""Sinks that lie about what they have delivered, or deliver something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import ClassVar, Self, cast

import aiohttp

from edgerouter import (
    DELIVERED,
    Message,
    Outcome,
    Rejected,
    SinkContext,
    Throttled,
    Unauthorized,
    Unavailable,
)
from support.wrong.catalogue import wrong
from support.wrong.honest_sink import EchoConfig, EchoSink


@wrong("sink", "test_the_sink_does_not_retry_by_itself", "switch off the SDK's retries, and write none")
class Retrying(EchoSink):
    """Retries once by itself."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unavailable:
            return await super().write(batch)


@wrong("sink", "test_the_sink_does_not_retry_by_itself", "switch off the SDK's retries, and write none")
class Impatient(EchoSink):
    """Retries when it is throttled."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Throttled:
            return await super().write(batch)


@wrong("sink", "test_a_broken_service_is_unavailable", "raise at once: the router retries")
class Stubborn(EchoSink):
    """Retries for ever, and never says so."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        while True:
            try:
                return await super().write(batch)
            except Unavailable:
                await asyncio.sleep(0.05)


@wrong("sink", "test_nothing_is_kept_between_writes", "consumers got other messages")
class Buffering(EchoSink):
    """Keeps what failed, and sends it with the next batch."""

    kept: ClassVar[list[Message]] = []

    async def write(self, batch: Sequence[Message]) -> Outcome:
        everything, self.kept[:] = [*self.kept, *batch], []
        try:
            return await super().write(everything)
        except Unavailable:
            self.kept[:] = everything
            raise


@wrong("sink", "test_a_broken_service_is_unavailable", "no failure says why")
class Optimistic(EchoSink):
    """Says that a batch is delivered when the service is broken."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unavailable:
            return DELIVERED


@wrong("sink", "test_a_lost_response_is_a_failure", "no failure says why")
class Guessing(EchoSink):
    """Says that a batch is delivered when its answer was lost."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unavailable as error:
            if isinstance(error.__cause__, aiohttp.ServerDisconnectedError):
                return DELIVERED
            raise


@wrong("sink", "test_a_partial_failure_names_the_messages_not_taken", "return a Failure for each message that was not taken")
class Pessimistic(EchoSink):
    """Fails the whole batch for one message, the rest of which the service took."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        outcome = await super().write(batch)
        if outcome.failed:
            raise outcome.failed[0].error
        return outcome


@wrong("sink", "test_a_partial_failure_names_the_messages_not_taken", "the service did not take messages 1 and 4")
class Shifted(EchoSink):
    """Counts the messages that failed from one in place of zero."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        outcome = await super().write(batch)
        return Outcome([replace(each, index=(each.index + 1) % len(batch)) for each in outcome.failed])


@wrong("sink", "test_a_partial_failure_names_the_messages_not_taken", "return each index once")
class Repeating(EchoSink):
    """Reports a message as failed twice, so that it is settled twice."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        outcome = await super().write(batch)
        return Outcome([*outcome.failed, *outcome.failed])


@wrong("sink", "test_a_partial_failure_names_the_messages_not_taken", "Rejected would dead-letter it")
class Hasty(EchoSink):
    """Rejects a message that the service would take later."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        outcome = await super().write(batch)
        return Outcome([replace(each, error=Rejected("no")) for each in outcome.failed])


@wrong("sink", "test_a_message_that_is_never_taken_is_rejected_alone", "what the service never takes is Rejected")
class Hopeful(EchoSink):
    """Calls a message unavailable that the service never takes."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        outcome = await super().write(batch)
        return Outcome([replace(each, error=Unavailable("later")) for each in outcome.failed])


@wrong("sink", "test_a_service_that_refuses_us_says_unauthorized", "401, 403 and 404 are Unauthorized")
class Rejecting(EchoSink):
    """Rejects messages because a key has expired: a day of data in the dead letters."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unauthorized as error:
            raise Rejected("may not") from error


@wrong("sink", "test_a_service_that_is_away_is_unavailable", "translate the SDK's errors at one place")
class Untranslated(EchoSink):
    """Lets an exception of its client out."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unavailable as error:
            raise error.__cause__ or error from None


@wrong("sink", "test_a_throttled_sink_says_so_and_for_how_long", "pass it on in `retry_after`")
class Forgetful(EchoSink):
    """Forgets for how long the service asked to wait."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Throttled as error:
            raise Throttled(str(error)) from error


@wrong("sink", "test_binary_payloads_are_delivered_byte_for_byte", "consumers got other messages")
class Textual(EchoSink):
    """Takes every payload for text."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        return await super().write([Message(m.topic, m.payload.decode(errors="replace").encode(), m.received_at) for m in batch])


@wrong("sink", "test_equal_messages_are_not_merged", "consumers got other messages")
class Merging(EchoSink):
    """Sends equal messages once."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        return await super().write(list({message.payload: message for message in batch}.values()))


@wrong("sink", "test_messages_of_every_kind_are_delivered", "consumers got other messages")
class Particular(EchoSink):
    """Leaves out messages with properties, and says nothing."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        return await super().write([message for message in batch if message.properties is None])


@wrong("sink", "test_the_same_batch_may_be_written_again", "it keeps nothing between writes")
class Remembering(EchoSink):
    """Does not send again what it has sent before."""

    def __init__(self, session: aiohttp.ClientSession, config: EchoConfig) -> None:
        super().__init__(session, config)
        self.seen: set[str] = set()

    async def write(self, batch: Sequence[Message]) -> Outcome:
        new = [message for message in batch if message.id not in self.seen]
        outcome = await super().write(new) if new else DELIVERED
        self.seen |= {message.id for message in new}
        return outcome


@wrong("sink", "test_messages_of_several_topics_keep_their_order", "arrive in the order of the batch")
class Grouping(EchoSink):
    """Sorts a batch by topic."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        return await super().write(sorted(batch, key=lambda message: message.topic))


@wrong("sink", "test_nothing_of_a_batch_is_kept", "forget a batch when `write` ends")
class Hoarding(EchoSink):
    """Keeps every message for ever."""

    def __init__(self, session: aiohttp.ClientSession, config: EchoConfig) -> None:
        super().__init__(session, config)
        self.history: list[Message] = []

    async def write(self, batch: Sequence[Message]) -> Outcome:
        self.history += batch
        return await super().write(batch)


@wrong("sink", "test_partition_and_order_are_properties_of_the_message", "`order_of` gives equal values")
class Fickle(EchoSink):
    """Has another order key at each call."""

    def order_of(self, message: Message) -> Hashable:
        return object()


@wrong("sink", "test_one_message_is_delivered", "the batch is the router's")
class Grabbing(EchoSink):
    """Empties the router's batch."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        outcome = await super().write(batch)
        cast("list[Message]", batch).clear()
        return outcome


@wrong("sink", "test_as_many_messages_as_the_limit_allows_are_delivered", "receipts for")
class Miscounting(EchoSink):
    """Returns one receipt for many messages, in a list."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        return replace(await super().write(batch), receipts=["one for all"])


@wrong("sink", "test_one_message_is_delivered", "return an Outcome")
class Silent(EchoSink):
    """Returns nothing."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        await super().write(batch)
        return cast("Outcome", None)


@wrong("sink", "test_opening_and_closing_sends_nothing", "send in `write` only")
class Greeting(EchoSink):
    """Sends a message of its own when it opens."""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as session:
            sink = cls(session, config)
            await sink.write([Message("hello", b"I am here", 0)])
            yield sink
