"""Conformance tests of opening, writing and closing a sink whose service works."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pytest
from msgspec import structs

from edgerouter.errors import Rejected
from edgerouter.message import Properties
from edgerouter.testing.delivery import deliver
from edgerouter.testing.limit_promises import LimitPromises
from edgerouter.testing.plugin_promises import assert_nothing_left, threads
from edgerouter.testing.promises import failures_of, missing_of
from edgerouter.testing.server import SinkServer

HOSTILE_TOPICS = (
    "plant/größe/温度/😀",
    "../../../etc/passwd",
    "/leading//double/trailing/",
    "a/./b/../c",
    "$SYS/broker/clients",
    "spaces and\ttabs/new\nline",
    "quotes'\"/<angle>&amp;/{braces}/%2F%00",
    "back\\slash/C:\\con/aux.",
    "control\x01\x7f/bidi\u202e",
    "surrogate-free/\ufffd/\U0010ffff",
    "long/" + "x" * 3000,
)


class WritePromises(LimitPromises):
    """A sink delivers every payload and topic byte for byte, within the limits it states, and leaves nothing behind."""

    async def test_opening_and_closing_sends_nothing(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """A sink can be opened and closed repeatedly; messages are sent only in `write`."""
        for _ in range(2):
            async with self.opened(config):
                pass
        assert list(await server.received()) == [], "send in `write` only: a message sent by opening was never published"

    async def test_closing_leaves_no_task_and_no_connection(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """Everything that the sink started ends with it."""
        tasks_before, running = asyncio.all_tasks(), threads()
        async with self.opened(config) as sink:
            await self.write(sink, self.messages(1))
        await self.assert_nothing_left(server, tasks_before, running)

    async def test_a_sink_opens_again_after_it_was_closed(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """The router opens it again after repeated refusals: nothing of the first one is in the way."""
        messages = self.messages(2)
        for message in messages:
            try:
                async with self.opened(config) as sink:
                    await self.taken(sink, [message])
            except Exception as error:
                raise AssertionError(f"opened again, it failed with {error!r}: keep nothing outside of the object") from error
        await self._assert_same_set(server, messages)

    async def test_a_failure_in_the_router_closes_the_sink_too(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """An exception of the router leaves the context properly and propagates."""
        tasks_before = asyncio.all_tasks()
        failure = ZeroDivisionError("somebody else's")
        try:
            async with self.opened(config) as sink:
                await self.write(sink, self.messages(1))
                raise failure
        except ZeroDivisionError as error:
            assert error is failure  # noqa: PT017  (that it comes out is checked below, that it is the same one here)
        else:
            pytest.fail("the sink swallowed an exception that was not its own: let it pass, and close in `finally`")
        await self.assert_nothing_left(server, tasks_before)

    async def test_partition_and_order_are_properties_of_the_message(self, config: Mapping[str, Any]) -> None:
        """The router groups by them, so they are hashable and the same at each call."""
        async with self.opened(config) as sink:
            for message in self.messages(2):
                assert hash(sink.partition_of(message)) == hash(sink.partition_of(message)), "`partition_of` gives equal values"
                assert sink.partition_of(message) == sink.partition_of(message), "`partition_of` gives equal values for one message"
                assert hash(sink.order_of(message)) == hash(sink.order_of(message)), "`order_of` gives equal values"
                assert sink.order_of(message) == sink.order_of(message), "`order_of` gives equal values for one message"
            several = [self.message(b"1", place, topic) for place, topic in enumerate(("a", "b/c", "plant/line-1/temperature"), 1)]
            assert sink.partitioned or {sink.partition_of(message) for message in several} == {None}, (
                "a sink whose messages have partitions is `partitioned`: the router asks no other"
            )
            assert sink.ordered or {sink.order_of(message) for message in several} == {None}, (
                "a sink that keeps an order is `ordered`: the router asks no other"
            )

    async def test_one_message_is_delivered(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """A batch of one."""
        batch = self.messages(1)
        async with self.opened(config) as sink:
            await self.taken(sink, batch)
        await self.assert_received(server, batch)

    async def test_an_empty_payload_is_delivered(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """An empty payload is a value too (MQTT clears a retained topic with it): it is delivered, or else rejected, never lost."""
        await self._delivered_or_rejected(server, config, [b"", b"after"], accepted=self.accepts_empty)

    async def test_binary_payloads_are_delivered_byte_for_byte(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """All byte values, broken UTF-8, zeros, and bytes that look like framing."""
        payloads = [bytes(range(256)), b"\xff\xfe\xfd", b"\x00", b"half a character \xe6\xb8", b"\x1f\x8b\x08 not gzip"]
        await self._delivered_or_rejected(server, config, payloads, accepted=self.accepts_binary)

    async def test_awkward_text_is_delivered_byte_for_byte(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """Line ends, quotes, characters that XML or JSON forbid or change, astral planes, leading byte order marks."""
        texts = (
            "line\nend\r\n",
            " \t ",
            '"quoted\\"',
            "<&>]]>",
            "温度 😀 \U0010ffff",
            "\ufeff{}",
            '{"a":  1.0}',
            "null",
            "aGVsbG8=",
        )
        await self._delivered_or_rejected(server, config, [text.encode() for text in texts], accepted=True)

    async def test_hostile_topics_are_delivered_or_rejected(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """A topic cannot break a request, hide a message, or escape from a folder; a service may refuse some."""
        messages = [self.message(f"topic {place}".encode(), place, topic) for place, topic in enumerate(HOSTILE_TOPICS, 1)]
        async with self.opened(config) as sink:
            failures = await deliver(sink, messages)
        assert all(isinstance(failure.error, Rejected) for failure in failures), failures
        rejected = {failure.index for failure in failures}
        delivered = [message for place, message in enumerate(messages) if place not in rejected]
        assert len(delivered) >= len(messages) // 2, "most topics that MQTT allows must be taken"
        await self._assert_same_set(server, delivered)

    async def test_messages_of_every_kind_are_delivered(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """All qualities of service, retained or not, properties of MQTT 5, high sequences, a clock that was not set.

        A service may refuse control characters in properties.
        """
        every = Properties((("a", "1"), ("a", "2"), ("größe", "ü"), ("aws.id", "z")), "text/plain", "a/b", bytes(range(256)), 0)
        strange = Properties((("", ""), ("\x01", "\x00"), ("x" * 300, "y" * 300), ("..", "\n")), "text/größe\r\n")
        time = self.message(b"").received_at
        kinds = ((0, True, None, 7, 0), (1, False, every, 2**32, time), (2, True, strange, 2**62, time))
        messages = []
        for number, (qos, retained, properties, sequence, received_at) in enumerate(kinds):
            plain = self.message(f'{{"kind": {number}}}'.encode(), sequence)
            messages.append(structs.replace(plain, qos=qos, retained=retained, properties=properties, received_at=received_at))
        async with self.opened(config) as sink:
            failures = await deliver(sink, messages)
        self.all_are(failures_of(failures), Rejected, "nothing is wrong with the service")
        rejected = {failure.index for failure in failures}
        assert rejected <= {2}, f"these are good messages, and were not taken: {failures}"
        await self._assert_same_set(server, [message for place, message in enumerate(messages) if place not in rejected])

    async def test_equal_messages_are_not_merged(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """Two messages with the same payload are two messages: a sensor may repeat a value."""
        messages = [self.message(b'{"same": 1}', sequence) for sequence in (1, 2, 3)]
        async with self.opened(config) as sink:
            assert not await deliver(sink, messages)
        await self._assert_same_set(server, messages)

    async def test_messages_of_several_topics_keep_their_order(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """Messages of one partition arrive in the order of the batch, although their topics alternate."""
        topics = ("plant/b", "plant/a", "plant/c")
        messages = [self.message(b'{"n": %d}' % number, number, topics[number % 3]) for number in range(1, 10)]
        async with self.opened(config) as sink:
            groups: dict[Hashable, list[bytes]] = {}
            for message in messages:
                groups.setdefault(sink.partition_of(message), []).append(self.expected(message))
            failures = await deliver(sink, messages)
        assert not failures, f"these are good messages, and were not taken: {failures}"
        got = [item.payload for item in await server.received()]
        for expected in groups.values() if self.keeps_order else ():
            assert [payload for payload in got if payload in expected] == expected, (
                "messages of one partition arrive in the order of the batch: do not sort or group them by topic (see `keeps_order`)"
            )

    async def test_nothing_of_a_batch_is_kept(self, config: Mapping[str, Any]) -> None:
        """Memory does not grow with the messages that were written."""
        async with self.opened(config) as sink:
            batch = self.batch(sink, 5)
            before = list(map(sys.getrefcount, batch))
            await self.taken(sink, list(batch))
            for attempt in range(100):  # the thread of a sink that blocks lets go of a batch a moment later
                if attempt in (0, 50, 99):  # takes a fifth of a second where much is imported
                    gc.collect()
                kept = sum(after > count for after, count in zip(map(sys.getrefcount, batch), before, strict=True))
                if not kept:
                    break
                await asyncio.sleep(0.02)
            assert not kept, f"{kept} of {len(batch)} messages are still held after `write`: forget a batch when `write` ends"

    async def test_the_same_batch_may_be_written_again(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """After a crash, or for a replay, the router writes delivered messages again; the sink sends them again."""
        async with self.opened(config) as sink:
            batch = self.batch(sink, 3)
            await self.taken(sink, batch)
            counts = not self.effectively_once and "requests" not in self.unsupported
            before = await server.requests() if counts else 0
            await self.taken(sink, tuple(batch))
            assert not counts or await server.requests() > before, (
                "the sink remembers what it has sent: it keeps nothing between writes"
            )
        await self.assert_received(server, batch, exactly=self.effectively_once)

    async def test_many_writes_at_once_all_settle(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """With `concurrency`, writes do not disturb each other."""
        async with self.opened(config) as sink:
            size = min(sink.limits.max_messages or 5, 5)
            all_messages = self.messages(8 * size)
            groups = [all_messages[start : start + size] for start in range(0, len(all_messages), size)]
            results = await asyncio.gather(*(self.write(sink, group) for group in groups))
        assert [missing_of(outcome) for outcome in results] == [[]] * len(groups), "writes at the same time disturb each other"
        await self._assert_same_set(server, all_messages)

    async def assert_nothing_left(
        self, server: SinkServer, tasks_before: set[asyncio.Task[Any]], threads_before: set[threading.Thread] | None = None
    ) -> None:
        """Check that soon no new task runs, and the server sees no connection."""
        deadline = asyncio.get_running_loop().time() + self.patience
        while "connections" not in self.unsupported and (open_ones := await self.disturb(server, "connections")):
            assert asyncio.get_running_loop().time() < deadline, (
                f"{open_ones} connections are open after closing: close the client when `open` is left, as `async with` does"
            )
            await asyncio.sleep(0.01)
        await assert_nothing_left(tasks_before, threads() if threads_before is None else threads_before, self.patience)
        gc.collect()

    async def _delivered_or_rejected(
        self, server: SinkServer, config: Mapping[str, Any], payloads: Sequence[bytes], *, accepted: bool
    ) -> None:
        messages = [self.message(payload, sequence) for sequence, payload in enumerate(payloads, 1)]
        async with self.opened(config) as sink:
            failures = await deliver(sink, messages)
        assert all(isinstance(failure.error, Rejected) for failure in failures), failures
        if accepted:
            assert failures == []
        rejected = {failure.index for failure in failures}
        await self._assert_same_set(server, [message for place, message in enumerate(messages) if place not in rejected])
