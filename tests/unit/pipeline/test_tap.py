"""A tap sees the lists of messages that pass; without one it costs the walk a check for each list, and never more than that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import cast

import pytest

from edgerouter import Message
from edgerouter.pipeline.intake import Intake
from edgerouter.pipeline.routing import Routing
from edgerouter.pipeline.tap import Look, SinkTaps, Stored, TapPoint, Taps
from edgerouter.spool.contract import Spool
from support.pipeline import ListReader, configured, messages, running, scripted, sequences, until
from support.sources import GatheringSource, ListSpool
from support.steps import chain, message


class Seen:
    """A tap that remembers what it saw."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.stored: list[Message] = []

    def __call__(self, shown: Sequence[Message], stored: Stored) -> None:
        self.messages += shown
        self.stored += [each for message in shown for each in stored(message)]


class CountingPoint(TapPoint):
    """A place that counts how often the walk checks it."""

    checks = 0

    @property
    def looks(self) -> tuple[Look, ...]:
        self.checks += 1
        return ()

    @looks.setter
    def looks(self, value: tuple[Look, ...]) -> None:
        pass


@asynccontextmanager
async def taking(source: GatheringSource, spool: ListSpool, tap: TapPoint) -> AsyncIterator[None]:
    """Run an intake over a source."""

    @asynccontextmanager
    async def open_source() -> AsyncIterator[GatheringSource]:
        yield source

    intake = Intake("source", cast("Spool", spool), lambda: Routing({}), 0.0, tap=tap)
    task = asyncio.create_task(intake.run(open_source))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_while_no_tap_is_open_each_list_costs_one_check_and_no_message_costs_any() -> None:
    places = SinkTaps(CountingPoint(), CountingPoint())
    sink, reader, steps = scripted(), ListReader(*messages(10_000, payload=b"{}")), chain({"type": "set", "fields": {"a": 1}})
    async with running(configured(sink, batch={"max_messages": 500}), reader, steps=steps, taps=places):
        await until(lambda: not reader.pending)
    assert isinstance(places.before, CountingPoint)
    assert isinstance(places.after, CountingPoint)
    assert places.after.checks == len(sink.writes) == 20
    assert 20 <= places.before.checks <= 21

    point, source, spool = CountingPoint(), GatheringSource(), ListSpool()
    async with taking(source, spool, point):
        source.put(*messages(10_000))
        await until(lambda: spool.appended)
    assert point.checks == len(spool.appended) == 1


async def test_the_intake_shows_what_is_stored() -> None:
    point, seen, source, spool = TapPoint(), Seen(), GatheringSource(), ListSpool()
    with point.tapped(seen):
        async with taking(source, spool, point):
            source.put(*messages(3))
            await until(lambda: seen.messages)
    assert sequences(seen.messages) == [1, 2, 3]
    assert point.looks == ()


async def test_before_the_steps_a_tap_sees_what_is_stored_and_behind_them_what_is_written() -> None:
    places, before, after = SinkTaps(), Seen(), Seen()
    stored = [message({"a": 1, "b": 2}, 1), message({"a": 3}, 2)]
    reader = ListReader(*stored)
    with ExitStack() as taps:
        taps.enter_context(places.before.tapped(before))
        taps.enter_context(places.after.tapped(after))
        async with running(configured(scripted()), reader, steps=chain({"type": "pick", "fields": ["a"]}), taps=places):
            await until(lambda: not reader.pending)
    assert before.messages == stored
    assert [each.payload for each in after.messages] == [b'{"a":1}', b'{"a":3}']
    assert after.stored == stored, "each result names the messages that it stands for"


async def test_without_steps_both_places_of_a_sink_show_what_is_written() -> None:
    places, before, after = SinkTaps(), Seen(), Seen()
    reader = ListReader(*messages(3))
    with places.before.tapped(before), places.after.tapped(after):
        async with running(configured(scripted()), reader, taps=places):
            await until(lambda: not reader.pending)
    assert sequences(before.messages) == sequences(after.messages) == [1, 2, 3]


async def test_a_tap_that_fails_is_closed_and_holds_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Sequence[Message], _stored: Stored) -> None:
        raise ValueError

    places, seen, reader = SinkTaps(), Seen(), ListReader(*messages(3))
    with places.after.tapped(broken), places.after.tapped(seen):
        async with running(configured(scripted()), reader, taps=places):
            await until(lambda: not reader.pending)
        assert places.after.looks == (seen,)
    assert sequences(seen.messages) == [1, 2, 3]


def test_open_taps_are_counted_at_all_places() -> None:
    taps, seen = Taps(), Seen()
    assert taps.sink("a") is taps.sink("a"), "a sink that a reload replaces keeps its taps"
    with taps.intake.tapped(seen), taps.sink("a").before.tapped(seen), taps.sink("b").after.tapped(seen):
        assert taps.open == 3
    assert taps.open == 0
