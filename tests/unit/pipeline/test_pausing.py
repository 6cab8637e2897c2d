"""A paused sink ends the writes that run, starts none and keeps every message; a paused source stores what it has received.

Covers: edgerouter.pipeline.runner, edgerouter.pipeline.delivery, edgerouter.pipeline.intake.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest

from edgerouter import DELIVERED, Message, Outcome, Rejected, Unavailable
from edgerouter.pipeline.intake import Intake
from edgerouter.pipeline.routing import Routing
from edgerouter.spool.contract import Spool
from support.pipeline import ListReader, configured, messages, running, scripted, sequences, until
from support.sources import GatheringSource, ListSpool


async def test_a_write_that_runs_ends_and_no_other_begins() -> None:
    answer = asyncio.Event()

    async def slow(_: Sequence[Message]) -> Outcome:
        await answer.wait()
        return DELIVERED

    reader, plugin = ListReader(*messages(4)), scripted(slow)
    async with running(configured(plugin, batch={"max_messages": 2}), reader) as runner:
        await until(lambda: plugin.writes)
        runner.pause()
        assert runner.paused
        answer.set()
        assert await runner.until_at_rest()
        assert sequences(reader.delivered_messages) == [1, 2]
        reader.add(*messages(1, start=5))
        await asyncio.sleep(0.01)
        assert len(plugin.writes) == 1
        assert runner.status.state == "paused"
        runner.resume()
        await until(lambda: not reader.pending)
    assert [sequences(batch) for batch in plugin.writes] == [[1, 2], [3, 4], [5]]
    assert plugin.opened == 2


async def test_what_a_failing_sink_holds_goes_back_at_once_and_is_written_in_order_later() -> None:
    """A pause does not wait for the end of a back-off."""
    works = False

    def answer(_: Sequence[Message]) -> Outcome:
        if not works:
            raise Unavailable("down")
        return DELIVERED

    reader, plugin = ListReader(*messages(6)), scripted(answer)
    retry = {"first_delay": 3600, "max_delay": 3600}
    async with running(configured(plugin, batch={"max_messages": 2}, retry=retry), reader) as runner:
        await until(lambda: runner.status.state == "retrying")
        runner.pause()
        assert await runner.until_at_rest()
        works = True
        runner.resume()
        await until(lambda: not reader.pending)
    assert sequences(reader.delivered_messages) == [1, 2, 3, 4, 5, 6]


async def test_a_sink_that_cannot_be_opened_is_paused_in_its_back_off() -> None:
    class Closed(scripted()):  # type: ignore[misc]
        @classmethod
        @asynccontextmanager
        async def open(cls, config: object, context: object) -> AsyncIterator[object]:
            raise Unavailable("down")
            yield

    reader = ListReader(*messages(1))
    retry = {"first_delay": 3600, "max_delay": 3600}
    async with running(configured(Closed, retry=retry), reader) as runner:
        await until(lambda: runner.status.state == "retrying")
        runner.pause()
        assert await runner.until_at_rest()
        assert runner.drained, "the router's stop does not wait for it"
    assert list(reader.pending) == [1]


@pytest.mark.parametrize("workers", [1, 8])
async def test_pauses_at_any_moment_lose_and_repeat_nothing(workers: int) -> None:
    async def answer(batch: Sequence[Message]) -> Outcome:
        await asyncio.sleep(0)
        if any(message.sequence % 97 == 0 for message in batch):
            raise Rejected("never")
        return DELIVERED

    reader, plugin = ListReader(*messages(2000)), scripted(answer)
    async with running(
        configured(plugin, batch={"max_messages": 10}, concurrency=workers, rate={"messages": 100_000}), reader
    ) as it:
        for turns in range(60):
            for _ in range(turns % 23):
                await asyncio.sleep(0)
            it.pause()
            if turns % 3:
                assert await it.until_at_rest()
            it.resume()
        await until(lambda: not reader.pending)
    found = sorted([*sequences(reader.delivered_messages), *(r.message.sequence for r in reader.rejections)])
    assert found == list(range(1, 2001))


@asynccontextmanager
async def receiving(source: GatheringSource, spool: ListSpool) -> AsyncIterator[Intake]:
    """Run an intake over a source."""

    @asynccontextmanager
    async def open_source() -> AsyncIterator[GatheringSource]:
        source.stopping = False
        intake.connected(True, "")
        yield source
        intake.connected(False, "closed")

    intake = Intake("source", cast("Spool", spool), lambda: Routing({"sink": lambda _: True}), 0.0)
    task = asyncio.create_task(intake.run(open_source))
    try:
        yield intake
    finally:
        intake.stop()
        await task


async def test_a_paused_source_has_stored_what_it_received_and_opens_again() -> None:
    source, spool = GatheringSource(), ListSpool()
    async with receiving(source, spool) as intake:
        await until(lambda: intake.status.connected)
        source.put(*messages(2))
        intake.pause()
        assert await intake.until_at_rest()
        assert sequences(source.acknowledged) == [1, 2]
        assert (intake.status.connected, intake.status.reason) == (False, "paused by an operator")
        source.put(*messages(1, start=3))
        await asyncio.sleep(0.01)
        assert sequences(source.acknowledged) == [1, 2]
        intake.resume()
        await until(lambda: len(source.acknowledged) == 3)
        assert intake.status.connected
    assert intake.status.messages == 3


async def test_a_source_that_does_not_end_by_itself_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerouter.pipeline.intake.CLOSING_SECONDS", 0.02)

    class Deaf(GatheringSource):
        def stop(self) -> None:
            """Ignore the request, as the default of the contract does."""

    source, spool = Deaf(), ListSpool()
    async with receiving(source, spool) as intake:
        await until(lambda: intake.status.connected)
        intake.pause()
        assert await intake.until_at_rest()
        intake.resume()
        await until(lambda: intake.status.connected)
        source.put(*messages(1))
        await until(lambda: source.acknowledged)
        intake.pause()
        assert await intake.until_at_rest()
