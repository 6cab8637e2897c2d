"""A runner settles every message of its sink, whatever the sink answers.

Covers also: edgerouter.pipeline.concurrency, edgerouter.pipeline.rate, edgerouter.pipeline.status, edgerouter.sink.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self

import pytest
import structlog

from edgerouter import DELIVERED, Limits, Message, Outcome, SinkConfig, SinkContext, Throttled, Unauthorized, Unavailable
from support.pipeline import ListReader, ScriptedSink, configured, messages, running, scripted, sequences, until


async def test_messages_are_written_in_order_and_settled() -> None:
    reader, plugin = ListReader(*messages(10)), scripted()
    async with running(configured(plugin, batch={"max_messages": 4}), reader):
        await until(lambda: not reader.pending)
    assert [sequences(batch) for batch in plugin.writes] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


async def test_a_batch_is_cut_at_the_services_limit_of_bytes_and_messages() -> None:
    reader = ListReader(*messages(7, payload=b"x" * 10))
    plugin = scripted(limits=Limits(max_messages=5, max_bytes=30))
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert [len(batch) for batch in plugin.writes] == [3, 3, 1]


async def test_a_message_over_the_services_limit_is_dead_lettered_unwritten_and_the_others_go_on() -> None:
    reader = ListReader(*messages(2), *messages(1, start=3, payload=b"x" * 11), *messages(2, start=4))
    plugin = scripted(limits=Limits(max_message_bytes=10))
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert [rejection.message.sequence for rejection in reader.rejections] == [3]
    assert "11 bytes are over this sink's limit of 10 bytes" in reader.rejections[0].reason
    assert sequences(reader.delivered_messages) == [1, 2, 4, 5]


async def test_a_delivered_batch_is_one_debug_line_with_its_first_receipts(caplog: pytest.LogCaptureFixture) -> None:
    """The line shows the messages' service-side names, and never one line for each message."""
    reader, plugin = ListReader(*messages(20)), scripted(lambda batch: Outcome(receipts=[f"r{m.sequence}" for m in batch]))
    with caplog.at_level(logging.DEBUG, "edgerouter.delivery"), structlog.testing.capture_logs() as lines:
        async with running(configured(plugin), reader):
            await until(lambda: not reader.pending)
    (line,) = [line for line in lines if line["event"] == "batch delivered"]
    assert (line["messages"], line["receipts"]) == (20, [f"r{n}" for n in range(1, 11)])


async def test_a_change_of_a_sinks_state_is_logged_with_its_cause_and_the_next_step() -> None:
    left = [Unavailable("connection refused"), Throttled("slow down"), Unauthorized("the key is gone")]

    def answer(batch: Sequence[Message]) -> Outcome:
        if left:
            raise left.pop(0)
        return DELIVERED

    reader, plugin = ListReader(*messages(1)), scripted(answer)
    with structlog.testing.capture_logs() as lines:
        async with running(configured(plugin), reader):
            await until(lambda: not reader.pending)
    failed = [line for line in lines if line["event"] == "sink cannot deliver"]
    assert [(line["state"], line["reason"]) for line in failed] == [
        ("retrying", "connection refused"),
        ("throttled", "slow down"),
        ("unauthorized", "the key is gone"),
    ]
    assert "the service" in failed[0]["next"]
    assert "correct what the reason names" in failed[2]["next"]
    (again,) = [line for line in lines if line["event"] == "sink delivers again"]
    assert again["after"] == "the key is gone"


async def test_a_batch_lingers_to_fill_and_a_full_one_does_not_wait() -> None:
    reader, plugin = ListReader(*messages(3)), scripted()
    async with running(configured(plugin, batch={"max_messages": 4, "linger": 30}), reader):
        await until(lambda: not reader.waiting)
        assert not plugin.writes
        reader.add(*messages(1, start=4))
        await until(lambda: not reader.pending)
    assert [sequences(batch) for batch in plugin.writes] == [[1, 2, 3, 4]]


async def test_a_drain_does_not_linger() -> None:
    reader, plugin = ListReader(*messages(3)), scripted()
    async with running(configured(plugin, batch={"linger": 3600}), reader) as runner:
        await until(lambda: not reader.waiting)
        runner.drain()
        await until(lambda: runner.drained)
    assert len(plugin.writes) == 1


async def test_messages_of_different_partitions_are_never_in_one_write() -> None:
    reader = ListReader(*[m for n in range(20) for m in messages(1, start=n + 1, topic=f"t{n % 3}")])
    plugin = scripted(partition_of=lambda self, message: message.topic)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert all(len({m.topic for m in batch}) == 1 for batch in plugin.writes)
    assert len(plugin.writes) == 3


async def test_workers_write_at_the_same_time_and_keep_the_order_of_each_key() -> None:
    busy: set[str] = set()
    most = 0

    async def answer(batch: Sequence[Message]) -> Outcome:
        nonlocal most
        keys = {m.topic for m in batch}
        assert not keys & busy
        busy.update(keys)
        most = max(most, len(busy))
        await asyncio.sleep(0.002)
        busy.difference_update(keys)
        return DELIVERED

    reader = ListReader(*[m for n in range(400) for m in messages(1, start=n + 1, topic=f"t{n % 16}")])
    plugin = scripted(answer, order_of=lambda self, message: message.topic)
    async with running(configured(plugin, concurrency=4, batch={"max_messages": 5}), reader):
        await until(lambda: not reader.pending)
    assert most > 1
    assert not reader.rejections
    for topic in {m.topic for m in reader.delivered_messages}:
        of_topic = [m.sequence for m in reader.delivered_messages if m.topic == topic]
        assert of_topic == sorted(of_topic)


async def test_unordered_workers_share_the_work() -> None:
    gate = asyncio.Event()

    async def answer(batch: Sequence[Message]) -> Outcome:
        await gate.wait()
        return DELIVERED

    reader = ListReader(*messages(40))
    plugin = scripted(answer)
    async with running(configured(plugin, concurrency=4, batch={"max_messages": 10}), reader):
        await until(lambda: len(plugin.writes) == 4)
        gate.set()
        await until(lambda: not reader.pending)


async def test_a_throttled_sink_narrows_its_workers() -> None:
    busy = most = 0

    async def answer(batch: Sequence[Message]) -> Outcome:
        nonlocal busy, most
        if len(plugin.writes) == 1:
            raise Throttled("slow down")
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.005)  # all others that may write begin meanwhile
        busy -= 1
        return DELIVERED

    reader, plugin = ListReader(*messages(5)), scripted(answer)
    async with running(configured(plugin, concurrency=8, batch={"max_messages": 5}), reader):
        await until(lambda: plugin.writes)
        reader.add(*messages(95, start=6))
        await until(lambda: not reader.pending)
    assert 1 < most < 8


async def test_a_rate_limit_bounds_messages_a_second() -> None:
    reader, plugin = ListReader(*messages(60)), scripted()
    started = asyncio.get_running_loop().time()
    async with running(configured(plugin, rate={"messages": 200}, batch={"max_messages": 10}), reader):
        await until(lambda: not reader.pending)
    assert asyncio.get_running_loop().time() - started >= 60 / 200 * 0.95


async def test_stable_batches_are_remembered_before_their_first_write() -> None:
    kept_at_write = []
    reader = ListReader(*messages(3))

    def answer(batch: Sequence[Message]) -> Outcome:
        kept_at_write.append([sequences(batch) for batch in reader.kept])
        if len(kept_at_write) == 1:
            raise Unavailable("lost")
        return DELIVERED

    plugin = scripted(answer, stable_batches=True)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert kept_at_write == [[[1, 2, 3]], [[1, 2, 3]]]


async def test_batches_of_an_earlier_run_are_written_first_and_unchanged() -> None:
    reader = ListReader(*messages(6))
    reader.to_keep = [reader.take(2), reader.take(1)]
    plugin = scripted(stable_batches=True)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert [sequences(batch) for batch in plugin.writes] == [[1, 2], [3], [4, 5, 6]]


async def test_what_was_not_settled_when_the_run_ends_goes_back_in_order() -> None:
    async def answer(batch: Sequence[Message]) -> Outcome:
        await asyncio.Event().wait()
        return DELIVERED

    reader = ListReader(*messages(30))
    plugin = scripted(answer)
    async with running(configured(plugin, concurrency=2, batch={"max_messages": 10}), reader):
        await until(lambda: len(plugin.writes) == 2)
    assert sequences(reader.waiting) == list(range(1, 31))


async def test_a_sink_that_cannot_open_is_opened_again() -> None:
    attempts = 0

    class Stubborn(ScriptedSink):
        writes, the_limits = [], Limits()

        @classmethod
        @asynccontextmanager
        async def open(cls, config: SinkConfig, context: SinkContext) -> AsyncIterator[Self]:
            nonlocal attempts
            attempts += 1
            if attempts < 4:
                raise Unavailable("no route to host")
            yield cls()

    reader = ListReader(*messages(1))
    async with running(configured(Stubborn), reader):
        await until(lambda: not reader.pending)
    assert attempts == 4
