"""Whatever a plugin does, its runner goes on, and every message ends where it belongs.

Covers: edgerouter.pipeline.delivery, edgerouter.pipeline.runner, edgerouter.tasks.bounded.
"""

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, cast

import pytest

from edgerouter import (
    DELIVERED,
    Failure,
    Limits,
    Message,
    Outcome,
    Rejected,
    SinkConfig,
    SinkContext,
    Throttled,
    Unauthorized,
    Unavailable,
)
from edgerouter.pipeline import batching as gathering
from edgerouter.spool.contract import Rejection
from edgerouter.tasks import bounded
from support.pipeline import ListReader, ScriptedSink, configured, messages, running, scripted, sequences, until


def raising(error: Exception) -> Callable[[ScriptedSink, Message], int]:
    def method(self: ScriptedSink, message: Message) -> int:
        if message.payload == b"bad":
            raise error
        return ScriptedSink.size_of(self, message)

    return method


@pytest.mark.parametrize("method", ["size_of", "partition_of", "order_of"])
async def test_a_message_that_a_plugin_cannot_even_look_at_holds_up_no_other(method: str) -> None:
    """Only what the plugin raises on is isolated; where it can be written all the same it is delivered."""
    reader = ListReader(*messages(3), *messages(1, start=4, payload=b"bad"), *messages(3, start=5))
    attributes: dict[str, Any] = {method: raising(KeyError("colour"))}
    plugin = scripted(**attributes)
    async with running(configured(plugin, concurrency=2), reader) as runner:
        await until(lambda: not reader.pending)
    assert {1, 2, 3, 5, 6, 7} <= set(sequences(reader.delivered_messages))
    if method == "size_of":
        assert [(r.message.sequence, r.error) for r in reader.rejections] == [(4, "PluginBug")]
        assert "colour" in runner.status.last_error


@pytest.mark.parametrize("size", [None, -1, math.nan, "7"])
async def test_a_size_that_is_none_isolates_its_message(size: object) -> None:
    reader = ListReader(*messages(2), *messages(1, start=3, payload=b"bad"), *messages(2, start=4))
    plugin = scripted(size_of=lambda _self, message: size if message.payload == b"bad" else 1)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert {1, 2, 4, 5} <= set(sequences(reader.delivered_messages))


async def test_a_failure_with_half_an_index_is_a_bug_and_not_a_delivery() -> None:
    reader = ListReader(*messages(2))
    plugin = scripted(lambda batch: Outcome([Failure(cast("int", 0.5), Rejected("no"))]))
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert reader.delivered_messages == []
    assert {rejection.error for rejection in reader.rejections} == {"PluginBug"}


async def test_a_plugin_that_asks_the_process_to_end_is_only_a_bug() -> None:
    def answer(batch: Sequence[Message]) -> Outcome:
        if 2 in sequences(batch):
            sys.exit(3)
        return DELIVERED

    reader = ListReader(*messages(3))
    async with running(configured(scripted(answer)), reader):
        await until(lambda: not reader.pending)
    assert sequences(reader.delivered_messages) == [1, 3]
    assert "SystemExit" in reader.rejections[0].reason


async def test_errors_of_the_contract_out_of_a_task_group_count_as_if_raised_alone() -> None:
    """A service that is away while a plugin writes to it in a task group fills no dead letters."""
    writes = 0

    async def away() -> None:
        raise Unavailable("away")

    async def no() -> None:
        raise Rejected("no")

    async def answer(batch: Sequence[Message]) -> Outcome:
        nonlocal writes
        writes += 1
        async with asyncio.TaskGroup() as requests:
            if writes <= 20:
                requests.create_task(away())
            if 2 in sequences(batch):
                requests.create_task(no())
        return DELIVERED

    reader = ListReader(*messages(3))
    async with running(configured(scripted(answer)), reader):
        await until(lambda: not reader.pending)
    assert sequences(reader.delivered_messages) == [1, 3]
    assert [(r.message.sequence, r.error) for r in reader.rejections] == [(2, "Rejected")]


async def test_a_write_that_goes_on_when_it_is_cancelled_ends_at_the_timeout_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink is opened anew, and no more than a few such writes are left behind."""
    monkeypatch.setattr(bounded, "LET_GO_SECONDS", 0.02)
    healed, ended, stuck = asyncio.Event(), asyncio.Event(), 0

    async def answer(_: Sequence[Message]) -> Outcome:
        nonlocal stuck
        if healed.is_set():
            return DELIVERED
        stuck += 1
        while not ended.is_set():
            try:
                await ended.wait()
            except asyncio.CancelledError:
                continue
        return DELIVERED

    reader, plugin = ListReader(*messages(1)), scripted(answer)
    async with running(configured(plugin, timeout=0.02), reader) as runner:
        await until(lambda: plugin.opened > 3)
        await until(lambda: runner.status.state == "retrying" and "although it was cancelled" in runner.status.last_error)
        assert stuck <= 3
        healed.set()
        ended.set()
        await until(lambda: not reader.pending)
    assert stuck <= 3


async def test_a_wait_that_the_service_asks_for_holds_for_all_workers() -> None:
    """The service asks one worker to wait: the others do not continue to ask meanwhile."""
    first = asyncio.Event()
    begun = []

    async def answer(batch: Sequence[Message]) -> Outcome:
        begun.append((asyncio.get_running_loop().time(), sequences(batch)))
        if not first.is_set():
            first.set()
            raise Throttled("slow down", retry_after=0.3)
        return DELIVERED

    reader, plugin = ListReader(*messages(1)), scripted(answer)
    async with running(configured(plugin, concurrency=4, batch={"max_messages": 1}), reader) as runner:
        await first.wait()
        reader.add(*messages(8, start=2))
        await until(lambda: not reader.pending)
        throttled = runner.status.throttled_seconds
    assert begun[1][0] - begun[0][0] >= 0.29
    assert 0.29 <= throttled <= 0.35, "the time is counted once, not once a worker"


@pytest.mark.parametrize("wait", [math.inf, math.nan, -5.0, 1e300])
async def test_an_absurd_wait_does_not_stop_a_sink_for_ever(wait: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerouter.tasks.backoff.LONGEST_WAIT", 0.01)
    writes = 0

    def answer(_: Sequence[Message]) -> Outcome:
        nonlocal writes
        writes += 1
        if writes == 1:
            raise Unavailable("maintenance", retry_after=wait)
        return DELIVERED

    reader = ListReader(*messages(1))
    async with running(configured(scripted(answer)), reader):
        await until(lambda: not reader.pending)


async def test_what_waits_for_a_failing_worker_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of a key whose worker cannot write do not pile up in memory; the rest stays in the spool."""
    monkeypatch.setattr(gathering, "MOST_OPEN_MESSAGES", 50)
    healed = asyncio.Event()

    async def answer(batch: Sequence[Message]) -> Outcome:
        if batch[0].topic == "stuck" and not healed.is_set():
            await healed.wait()
        return DELIVERED

    stuck = messages(2000, topic="stuck")
    reader = ListReader(*stuck, *messages(10, start=2001, topic="fine"))
    plugin = scripted(answer, order_of=lambda _self, message: message.topic)
    async with running(configured(plugin, concurrency=2, batch={"max_messages": 10}), reader):
        await until(lambda: plugin.writes)
        await asyncio.sleep(0)
        await until(lambda: len(reader.waiting) < 2010)
        assert len(reader.waiting) >= 2010 - 10 - 50 - 3 * 10
        healed.set()
        await until(lambda: not reader.pending)
    assert [m.sequence for m in reader.delivered_messages if m.topic == "stuck"] == list(range(1, 2001))


async def test_many_bad_messages_in_a_row_are_settled_together() -> None:
    """1,500 unparsable messages do not each wait for the disk before the next good one has its turn."""

    def answer(batch: Sequence[Message]) -> Outcome:
        if any(message.payload == b"bad" for message in batch):
            raise Rejected("unparsable")
        return DELIVERED

    settled = []

    class Counting(ListReader):
        async def dead_letter(self, rejections: Sequence[Rejection]) -> None:
            settled.append(len(rejections))
            await super().dead_letter(rejections)

    reader = Counting(*messages(1500, payload=b"bad"), *messages(10, start=1501))
    async with running(configured(scripted(answer)), reader):
        await until(lambda: not reader.pending)
    assert len(reader.rejections) == 1500
    assert sequences(reader.delivered_messages) == list(range(1501, 1511))
    assert len(settled) <= 40


async def test_a_run_that_ends_in_the_middle_of_the_halving_gives_back_what_is_not_settled() -> None:
    third = asyncio.Event()

    async def answer(batch: Sequence[Message]) -> Outcome:
        if sequences(batch)[0] == 3:
            third.set()
            await asyncio.Event().wait()
        raise Rejected("unparsable")

    reader = ListReader(*messages(4))
    async with running(configured(scripted(answer)), reader):
        await third.wait()
    assert sequences(reader.waiting) == [message.sequence for message in reader.pending.values()] == [1, 2, 3, 4]


async def test_a_client_that_does_not_close_keeps_no_sink_from_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """After refused credentials the sink is opened anew, though the old client never says good-bye."""
    monkeypatch.setattr(bounded, "CLOSING_SECONDS", 0.01)
    opened = 0

    class Clinging(ScriptedSink):
        writes, the_limits = [], Limits()

        @classmethod
        @asynccontextmanager
        async def open(cls, config: SinkConfig, context: SinkContext) -> AsyncIterator[Self]:
            nonlocal opened
            opened += 1
            try:
                yield cls()
            finally:
                await asyncio.Event().wait()

        async def write(self, batch: Sequence[Message]) -> Outcome:
            if opened < 3:
                raise Unauthorized("who are you?")
            return DELIVERED

    reader = ListReader(*messages(3))
    async with running(configured(Clinging), reader):
        await until(lambda: not reader.pending)
    assert opened == 3


async def test_a_dead_letter_shows_in_how_many_writes_it_has_been() -> None:
    """Writes of its neighbours, in the same batch, are none of its attempts."""

    def answer(batch: Sequence[Message]) -> Outcome:
        if {3, 14} & set(sequences(batch)):
            raise Rejected("no")
        return DELIVERED

    reader, plugin = ListReader(*messages(16)), scripted(answer)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    told = {rejection.message.sequence: rejection.attempts for rejection in reader.rejections}
    assert told == {number: sum(number in sequences(batch) for batch in plugin.writes) for number in (3, 14)} == {3: 5, 14: 5}
