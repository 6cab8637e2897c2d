"""Sinks that state other limits or sizes than those of their service."""

from __future__ import annotations

from collections.abc import Sequence

from edgerouter import Failure, Limits, Message, Outcome, Rejected
from support.wrong.catalogue import wrong
from support.wrong.honest_sink import EchoSink


@wrong("sink", "test_a_message_over_the_largest_size_is_known_to_be", "never too little")
class Undercounting(EchoSink):
    """Never counts a message above the limit."""

    def size_of(self, message: Message) -> int:
        return min(len(message.payload), 2000)


@wrong("sink", "test_sizes_are_those_of_the_bytes_that_are_sent", "`size_of` counts")
class CountingCharacters(EchoSink):
    """Counts characters in place of bytes."""

    def size_of(self, message: Message) -> int:
        return len(message.payload.decode(errors="replace")) + len(message.topic)

    async def write(self, batch: Sequence[Message]) -> Outcome:
        too_large = [Failure(place, Rejected("413")) for place, m in enumerate(batch) if super(type(self), self).size_of(m) > 2000]
        return Outcome(too_large) if too_large else await super().write(batch)


@wrong("sink", "test_the_limits_make_sense", "`sizes_of` says of each message what `size_of` says")
class CountingTogether(EchoSink):
    """Counts many messages as one."""

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        return [sum(map(self.size_of, messages))]


@wrong("sink", "test_as_many_messages_as_the_limit_allows_are_delivered", "`limits` are those of the service")
class Boasting(EchoSink):
    """States a limit that the service does not have."""

    @property
    def limits(self) -> Limits:
        return Limits(max_messages=20, max_bytes=4000, max_message_bytes=2000)


@wrong("sink", "test_the_limits_make_sense", "`limits` stay as they are")
class Wavering(EchoSink):
    """Changes its limits while it is open."""

    asked = 0

    @property
    def limits(self) -> Limits:
        self.asked += 1
        return Limits(max_messages=10, max_bytes=4000 + self.asked, max_message_bytes=2000)
