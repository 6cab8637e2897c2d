"""A batch that may be stored already is neither stored twice nor lost, and one that is too large for the link is parted.

Covers: edgerouter.pipeline.delivery, edgerouter.pipeline.attempts.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from edgerouter import DELIVERED, Message, Outcome, Rejected, Unavailable
from support.pipeline import ListReader, ScriptedSink, configured, messages, running, scripted, sequences, until


async def test_an_answer_that_comes_while_the_write_is_asked_to_end_counts() -> None:
    async def answer(_: Sequence[Message]) -> Outcome:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return DELIVERED

    reader, plugin = ListReader(*messages(1)), scripted(answer)
    async with running(configured(plugin, timeout=0.01), reader):
        await until(lambda: not reader.pending)
    assert len(plugin.writes) == 1


async def test_a_batch_that_is_too_much_for_the_link_is_written_in_parts() -> None:
    """A write that never ends in time for more than two messages gets through in halves."""

    async def answer(batch: Sequence[Message]) -> Outcome:
        if len(batch) > 2:
            await asyncio.Event().wait()
        return DELIVERED

    reader, plugin = ListReader(*messages(16)), scripted(answer)
    async with running(configured(plugin, timeout=0.01), reader):
        await until(lambda: not reader.pending)
    assert sequences(reader.delivered_messages) == list(range(1, 17))


async def test_a_batch_that_is_one_object_is_never_written_in_parts_for_want_of_an_answer() -> None:
    writes = 0

    async def answer(_: Sequence[Message]) -> Outcome:
        nonlocal writes
        writes += 1
        if writes < 8:
            await asyncio.Event().wait()
        return DELIVERED

    reader, plugin = ListReader(*messages(16)), scripted(answer, stable_batches=True)
    async with running(configured(plugin, timeout=0.01), reader):
        await until(lambda: not reader.pending)
    assert {len(batch) for batch in plugin.writes} == {16}


async def test_a_batch_that_is_stored_already_is_not_stored_again_in_halves_when_it_is_rejected_afterwards() -> None:
    """Its first write had no answer and was taken: the service is asked before the batch is split, also when it does not answer."""
    asked = []

    def answer(batch: Sequence[Message]) -> Outcome:
        if len(plugin.writes) == 1:
            raise Unavailable("the answer was lost")
        raise Rejected("no")

    async def holds(_self: ScriptedSink, batch: Sequence[Message]) -> bool:
        asked.append(len(batch))
        if len(asked) == 1:
            raise Unavailable("not now")
        return True

    reader, plugin = ListReader(*messages(4)), scripted(answer, stable_batches=True, holds=holds)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert sequences(reader.delivered_messages) == [1, 2, 3, 4]
    assert reader.rejections == []
    assert [len(batch) for batch in plugin.writes] == [4, 4, 4]
    assert asked == [4, 4]


async def test_a_batch_of_an_earlier_run_may_be_stored_although_it_is_rejected() -> None:
    async def holds(_self: ScriptedSink, batch: Sequence[Message]) -> bool:
        return len(batch) == 4

    def answer(_: Sequence[Message]) -> Outcome:
        raise Rejected("no")

    reader = ListReader(*messages(4))
    reader.to_keep = [reader.take(4)]
    async with running(configured(scripted(answer, stable_batches=True, holds=holds)), reader):
        await until(lambda: not reader.pending)
    assert sequences(reader.delivered_messages) == [1, 2, 3, 4]


@pytest.mark.parametrize("broken", [True, False])
async def test_a_batch_whose_first_answer_is_a_rejection_or_that_is_not_stored_is_split_to_its_bad_message(broken: bool) -> None:
    asked = []

    def answer(batch: Sequence[Message]) -> Outcome:
        if broken and len(plugin.writes) == 1:
            raise Unavailable("the answer was lost")
        if 3 in sequences(batch):
            raise Rejected("no")
        return DELIVERED

    async def holds(_self: ScriptedSink, batch: Sequence[Message]) -> bool:
        asked.append(sequences(batch))
        raise KeyError("a bug there")

    reader, plugin = ListReader(*messages(4)), scripted(answer, stable_batches=True, holds=holds)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert sequences(reader.delivered_messages) == [1, 2, 4]
    assert [rejection.message.sequence for rejection in reader.rejections] == [3]
    assert asked == ([[1, 2, 3, 4]] if broken else [])


async def test_a_stable_batch_is_written_in_the_order_in_which_it_would_come_back() -> None:
    """With live_first old messages come after new ones; after a crash the batch must be the same one."""
    new, old = messages(2, start=10), messages(2)
    reader, plugin = ListReader(), scripted(stable_batches=True)
    reader.add(*new)
    reader.add(*old)
    async with running(configured(plugin), reader):
        await until(lambda: not reader.pending)
    assert [sequences(batch) for batch in plugin.writes] == [[1, 2, 10, 11]]
