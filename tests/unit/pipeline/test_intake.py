"""Intake stores what a source has gathered, and acknowledges nothing that is not stored.

Covers also: edgerouter.source.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from edgerouter import Delivery, Unavailable
from edgerouter.pipeline.intake import Intake
from edgerouter.pipeline.routing import Routing
from edgerouter.pipeline.shaping.chain import Chain
from edgerouter.spool.contract import Spool
from support.pipeline import messages, until
from support.sources import GatheringSource, ListSpool
from support.steps import chain


@asynccontextmanager
async def taking(
    source: GatheringSource, spool: ListSpool, interval: float = 0.0, steps: Chain | None = None
) -> AsyncIterator[tuple[Intake, asyncio.Task[None]]]:
    """Run an intake over a source."""

    @asynccontextmanager
    async def open_source() -> AsyncIterator[GatheringSource]:
        yield source

    intake = Intake("source", cast("Spool", spool), lambda: Routing({"sink": lambda _: True}), interval, steps=steps)
    task = asyncio.create_task(intake.run(open_source))
    try:
        yield intake, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_message_after_a_quiet_time_is_stored_at_once() -> None:
    source, spool = GatheringSource(), ListSpool()
    async with taking(source, spool, interval=3600):
        source.put(*messages(1))
        await until(lambda: spool.appended)
    assert spool.appended == [("source", messages(1), {"sink": 1})]


async def test_under_load_one_commit_takes_everything_that_came_in_meanwhile() -> None:
    source, spool = GatheringSource(), ListSpool()
    async with taking(source, spool, interval=0.05):
        for n in range(100):
            source.put(*messages(1, start=n + 1))
            await asyncio.sleep(0)
        await until(lambda: len(source.acknowledged) == 100)
    assert [message.sequence for message in source.acknowledged] == list(range(1, 101))
    assert len(spool.appended) < 10


class RepeatingSource(GatheringSource):
    """Says that three messages came again."""

    @property
    def repeated(self) -> int:
        return 3


async def test_messages_that_came_again_are_counted_over_reopenings_of_the_source() -> None:
    source, spool = RepeatingSource(), ListSpool()
    async with taking(source, spool) as (intake, _):
        await until(lambda: intake.repeated == 3)
        source.stop()
        await until(lambda: intake.status.reopened)
        assert intake.repeated == 3


async def test_a_sender_that_waits_for_acknowledgements_does_not_wait_for_the_interval() -> None:
    source, spool = GatheringSource(), ListSpool()
    async with taking(source, spool, interval=3600) as (intake, _):
        source.put(*messages(1))
        await until(lambda: spool.appended)
        source.put(*messages(1, start=2))
        intake.flush_now()
        await until(lambda: len(spool.appended) == 2)


async def test_while_the_spool_takes_nothing_nothing_is_acknowledged_and_nothing_is_lost() -> None:
    source, spool = GatheringSource(), ListSpool()
    spool.room.clear()
    async with taking(source, spool):
        source.put(*messages(5))
        await asyncio.sleep(0.02)
        source.put(*messages(5, start=6))
        assert source.acknowledged == []
        spool.room.set()
        await until(lambda: len(source.acknowledged) == 10)


async def test_a_stop_stores_what_has_come_in_and_ends() -> None:
    source, spool = GatheringSource(), ListSpool()
    async with taking(source, spool, interval=3600) as (intake, task):
        source.put(*messages(1))
        await until(lambda: spool.appended)
        source.put(*messages(3, start=2))
        intake.stop()
        async with asyncio.timeout(5):
            await task
    assert len(source.acknowledged) == 4


@pytest.mark.parametrize("error", [Unavailable("gone"), ZeroDivisionError("bug")])
async def test_a_source_that_fails_is_opened_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerouter.pipeline.intake.full_jitter", lambda *_, **__: 0.001)
    opened = 0

    class Failing(GatheringSource):
        async def deliveries(self) -> AsyncIterator[Delivery]:
            if opened < 3:
                raise error
            yield Delivery(messages(1), lambda: None)
            await asyncio.Event().wait()

    @asynccontextmanager
    async def open_source() -> AsyncIterator[GatheringSource]:
        nonlocal opened
        opened += 1
        yield Failing()

    spool = ListSpool()
    intake = Intake("source", cast("Spool", spool), lambda: Routing({}), 0.0)
    task = asyncio.create_task(intake.run(open_source))
    await until(lambda: spool.appended)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert opened == 3
    assert intake.status.reopened == 2


async def test_what_a_step_of_the_source_leaves_out_is_acknowledged_and_never_stored() -> None:
    source, spool = GatheringSource(), ListSpool()
    steps = chain({"type": "filter", "topics": ["wanted"]}, {"type": "topic", "topic": "is/{topic}"})
    async with taking(source, spool, steps=steps) as (intake, _):
        source.put(*messages(2, topic="other"))
        await until(lambda: len(source.acknowledged) == 2)
        source.put(*messages(1, start=3, topic="other"), *messages(1, start=4, topic="wanted"))
        await until(lambda: len(source.acknowledged) == 4)
        assert (intake.status.messages, intake.status.filtered) == (1, 3)
    assert [[message.topic for message in stored] for _, stored, _ in spool.appended] == [["is/wanted"]]
