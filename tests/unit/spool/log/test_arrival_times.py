"""Times of receipt rise within a spool, whatever the sources and the clock say."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from edgerouter.config.model import SpoolConfig
from edgerouter.message import Message
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Rejection
from edgerouter.spool.log.arrival_times import SET_BACK, STEP
from edgerouter.spool.operator import DeadLetterFilter
from support.spools import RECEIVED, Pipe, route, sqlite, take


def read_at(time: int, count: int) -> list[Message]:
    """Messages of one read: a source stamps them with one time."""
    return [Message("a/b", b"%d" % n, time, 1) for n in range(count)]


@pytest.fixture(params=["sqlite", "memory"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> SpoolConfig:
    return sqlite(tmp_path, type=request.param)


async def test_messages_of_one_read_get_times_that_rise(config: SpoolConfig) -> None:
    """No two messages share a time, within a read, between reads, and over the borders of chunks."""
    async with open_spool(config) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(read_at(RECEIVED, 2500))
        await pipe.append(read_at(RECEIVED, 10))
        await pipe.append(read_at(RECEIVED + 10**9, 10))
        times = [message.received_at for message in await take(reader, 2520)]

    assert times[0] == RECEIVED
    assert times[2510] == RECEIVED + 10**9, "a time that is later by itself stays as it is"
    assert all(after - before >= STEP for before, after in pairwise(times))


async def test_times_rise_over_restarts_and_small_steps_back_of_the_clock(tmp_path: Path) -> None:
    for run in range(3):
        async with open_spool(sqlite(tmp_path)) as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            await pipe.append(read_at(RECEIVED - run * 10**9, 100))
    async with open_spool(sqlite(tmp_path)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        times = [message.received_at for message in await take(reader, 300)]

    assert all(after - before >= STEP for before, after in pairwise(times))
    assert times[-1] < RECEIVED + 10**6


async def test_a_clock_that_is_corrected_by_more_than_a_minute_is_followed(config: SpoolConfig) -> None:
    """A device that began in the wrong year does not stay there."""
    async with open_spool(config) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(read_at(RECEIVED + 2 * SET_BACK, 3))
        await pipe.append(read_at(RECEIVED, 3))
        times = [message.received_at for message in await take(reader, 6)]

    assert times[3:] == [RECEIVED, RECEIVED + STEP, RECEIVED + 2 * STEP]


async def test_a_replayed_dead_letter_keeps_its_time(config: SpoolConfig) -> None:
    async with open_spool(config) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(read_at(RECEIVED, 1))
        (letter,) = await take(reader, 1)
        await pipe.append(read_at(RECEIVED + 10**9, 1))
        await reader.dead_letter([Rejection(letter, "bad", "Rejected", 1, 0)])
        assert await spool.tools.replay_dead_letters(DeadLetterFilter()) == 1
        await pipe.append(read_at(RECEIVED, 1))
        newest, again, after = [message.received_at for message in await take(reader, 3)]

    assert again == RECEIVED
    assert after == newest + STEP
