"""The spool on one server: what was acknowledged is read by every sink, in order, once, by whichever router holds its position.

Covers also: edgerouter_nats.spool.api, edgerouter_nats.spool.chunks, edgerouter_nats.spool.content,
edgerouter_nats.spool.counting, edgerouter_nats.spool.engine, edgerouter_nats.spool.holding,
edgerouter_nats.spool.routers, edgerouter_nats.spool.routing,
edgerouter_nats.spool.settings, edgerouter_nats.spool.state, edgerouter_nats.spool.storage, edgerouter_nats.spool.appender,
edgerouter_nats.spool.link, edgerouter_nats.spool.positions, edgerouter_nats.spool.room, edgerouter_nats.spool.stream,
edgerouter_nats.spool.tail, edgerouter_nats.spool.trimming.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edgerouter.errors import SpoolError
from edgerouter.spool.contract import Rejection
from edgerouter_nats.spool.spool import JetStreamSpool
from support.nats.cluster import NatsServer
from support.nats.spools import Letters, opened
from support.pipeline import until
from support.spools import Pipe, fresh, ledger, route, take, take_some

_names: Iterator[str] = (f"TEST-{number}" for number in range(1000))


@pytest.fixture
def stream() -> str:
    """A name that no other test uses."""
    return next(_names)


@asynccontextmanager
async def piped(nats: NatsServer, stream: str, router: str = "one", **more: Any) -> AsyncIterator[tuple[JetStreamSpool, Pipe]]:
    """Open a spool with a pipe into it."""
    async with opened([nats.url], stream, router, **more) as spool:
        yield spool, Pipe(spool)


async def test_messages_are_acknowledged_in_order_and_read_in_order(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream) as (spool, pipe):
        (reader,) = await pipe.attach(route("cloud"))
        batches = [fresh(count) for count in (1, 700, 2500, 3)]
        await asyncio.gather(*(pipe.append(batch) for batch in batches))
        assert pipe.acknowledged == batches
        messages = await take(reader, 3204)
        assert [m.payload for m in messages] == [m.payload for batch in batches for m in batch]
        assert len({m.id for m in messages}) == 3204
        assert [m.sequence for m in messages] == sorted(m.sequence for m in messages)
        reader.delivered(messages)
        assert spool.ledgers == {"cloud": ledger(3204, 3204)}
        assert not spool.faults
        await spool.flush()


async def test_each_sink_reads_what_it_wants_and_what_is_settled_by_all_is_purged(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream) as (spool, pipe):
        every, some = await pipe.attach(route("every"), route("some", "a/+"))
        await pipe.append(fresh(10, topic="a/1") + fresh(20, topic="b"))
        every.delivered(await take(every, 30))
        taken = await take(some, 10)
        assert {m.topic for m in taken} == {"a/1"}
        await spool.flush()
        await spool.engine.trimming.trim()
        assert spool.status.messages == 30
        some.delivered(taken)
        await spool.flush()
        assert await spool.engine.trimming.trim()
        assert (spool.status.bytes, spool.status.messages) == (0, 0)
        # the subject is empty: the next chunk must get in, and under a new number
        await pipe.append(fresh(1))
        assert (await take(every, 1))[0].sequence > taken[-1].sequence
        assert spool.ledgers == {"every": ledger(31, 30), "some": ledger(11, 10)}


async def test_a_restart_continues_every_position_under_the_same_ids(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream) as (spool, pipe):
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(10))
        before = await take(reader, 10)
        reader.delivered(before[:4])
    async with piped(nats, stream) as (again, pipe):
        assert again.id == spool.id
        (reader,) = await pipe.attach(route("cloud"))
        assert again.ledgers == {"cloud": ledger(10, 4)}
        assert await take(reader, 6) == before[4:]
        await pipe.append(fresh(1))
        assert pipe.acknowledged


async def test_a_process_that_dies_loses_no_message_and_its_successor_counts_them(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream) as (_, pipe), piped(nats, stream) as (heir, successor):
        await pipe.attach(route("cloud", "a/#"))
        await pipe.append(fresh(10) + fresh(5, topic="other"))
        # the first process is as good as dead: its counts were never written
        (reader,) = await successor.attach(route("cloud", "a/#"))
        assert len(await take(reader, 10)) == 10
        assert heir.ledgers == {"cloud": ledger(10)}


async def test_routers_share_the_log_and_the_holder_of_a_position_reads_what_all_append(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream, "one") as (one, first), piped(nats, stream, "two") as (_, second):
        (reader,) = await first.attach(route("cloud", "a/#"))
        second.routes = dict(first.routes)
        for _ in range(5):
            await first.append(fresh(7))
            # a router without the sink counts nothing for it
            await second.append(fresh(3) + fresh(2, topic="b"))
        messages = await take(reader, 50)
        assert len({m.id for m in messages}) == 50
        assert {m.spool for m in messages} == {one.id}
        reader.delivered(messages)
        assert one.ledgers == {"cloud": ledger(50, 50)}
        assert not one.faults


async def test_a_position_that_is_taken_is_written_by_its_new_holder_only(nats: NatsServer, stream: str) -> None:
    fenced: list[str] = []
    async with piped(nats, stream, "one") as (one, first), piped(nats, stream, "two") as (two, second):
        one.when_fenced(fenced.append)
        (stale,) = await first.attach(route("cloud"))
        await first.append(fresh(10))
        taken = await take(stale, 10)
        (reader,) = await second.attach(route("cloud"))
        stale.delivered(taken)
        await one.flush()
        assert fenced == ["cloud"]
        await until(lambda: two.ledgers["cloud"] == ledger(10))
        assert [m.id for m in await take(reader, 10)] == [m.id for m in taken]


async def test_a_released_position_is_taken_over_where_it_stood(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream, "one") as (one, first), piped(nats, stream, "two") as (two, second):
        (reader,) = await first.attach(route("cloud"))
        await first.append(fresh(10))
        reader.delivered((await take(reader, 10))[:7])
        await one.release_shard("cloud")
        assert one.ledgers == {}
        (reader,) = await second.attach(route("cloud"))
        assert two.ledgers["cloud"] == ledger(10, 7)
        assert len(await take(reader, 3)) == 3


async def test_a_new_sink_begins_now_or_with_the_oldest_message(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream) as (spool, pipe):
        await pipe.attach(route("keeps"))
        await pipe.append(fresh(10) + fresh(3, topic="other"))
        now, oldest = await pipe.attach(route("now"), route("oldest", "a/#", start="oldest"))
        assert (spool.ledgers["now"], spool.ledgers["oldest"]) == (ledger(), ledger(10))
        await pipe.append(fresh(1))
        assert len(await take(now, 1)) == 1
        assert len(await take(oldest, 11)) == 11


async def test_changed_filters_count_again_what_waits(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream) as (spool, pipe):
        await pipe.attach(route("cloud", "a/#"))
        await pipe.append(fresh(10) + fresh(4, topic="b"))
        (reader,) = await pipe.attach(route("cloud", "b"))
        assert spool.ledgers["cloud"] == ledger(14, filtered=10)
        assert {m.topic for m in await take(reader, 4)} == {"b"}


async def test_a_detached_sink_keeps_what_it_has_until_it_is_forgotten(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream) as (spool, pipe):
        await pipe.attach(route("cloud"), route("other"))
        await pipe.append(fresh(5))
        with pytest.raises(SpoolError, match="in the configuration"):
            await spool.forget("cloud")
        await spool.detach("cloud")
        await pipe.append(fresh(5))
        assert spool.status.orphans == ("cloud",)
        assert spool.ledgers["cloud"] == ledger(5)
        await spool.forget("cloud")
        assert set(spool.ledgers) == {"other"}
        with pytest.raises(SpoolError, match="holds nothing"):
            await spool.forget("cloud")


async def test_a_sink_of_an_earlier_run_is_an_orphan_until_it_is_forgotten(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream) as (spool, pipe):
        await pipe.attach(route("cloud"), route("gone"))
        await pipe.append(fresh(5))
    async with piped(nats, stream) as (spool, pipe):
        await pipe.attach(route("cloud"))
        await until(lambda: spool.status.orphans == ("gone",))
        assert spool.ledgers["gone"].matched == 5
        await spool.forget("gone")
        assert spool.status.orphans == ()


async def test_kept_batches_come_back_whole(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream) as (spool, pipe):
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(2))
        await pipe.append(fresh(3))
        batch = (await take(reader, 5))[:4]
        await reader.keep_batch(batch)
    async with piped(nats, stream) as (spool, pipe):
        (reader,) = await pipe.attach(route("cloud"))
        assert await reader.kept_batches() == [batch]
        reader.delivered(batch)
        assert len(await take(reader, 1)) == 1
        assert spool.ledgers["cloud"] == ledger(5, 4)


async def test_dead_letters_are_stored_before_they_are_settled(nats: NatsServer, stream: str) -> None:
    letters = Letters()
    async with piped(nats, stream, letters=letters) as (spool, pipe):
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(3))
        messages = await take(reader, 3)
        await reader.dead_letter([Rejection(messages[1], "too long", "Rejected", 1, 1)])
        reader.delivered(messages)
        assert [(name, r.message) for name, r in letters.kept] == [("cloud", messages[1])]
        assert spool.ledgers["cloud"] == ledger(3, 2, dead_lettered=1)
        # sent again, they reach their sink alone
        await spool.replayed("cloud", [messages[1]])
        assert [m.payload for m in await take(reader, 1)] == [messages[1].payload]
        assert spool.ledgers["cloud"] == ledger(3, 2)


async def test_more_keys_than_one_answer_of_the_server_holds_are_all_read(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream, patience=30.0) as (spool, _):
        state = spool.engine.state
        await asyncio.gather(*(state.write(f"many.{n}", b"%d" % n) for n in range(1030)))
        assert {each.data for each in await state.all("many")} == {b"%d" % n for n in range(1030)}


async def test_a_long_backlog_is_read_in_order_with_little_in_memory(nats: NatsServer, stream: str) -> None:
    async with piped(nats, stream, cache_bytes=100_000) as (spool, pipe):
        (reader,) = await pipe.attach(route("cloud"))
        for _ in range(30):
            await pipe.append(fresh(300, payload=lambda n: b"%d" % n * 10))
        assert spool.engine.tail.recent.first > 0
        read = 0
        while read < 9000:
            messages = await take_some(reader, 500)
            assert [m.payload for m in messages] == [b"%d" % ((read + n) % 300) * 10 for n in range(len(messages))]
            read += len(messages)
            reader.delivered(messages)
        assert spool.ledgers["cloud"] == ledger(9000, 9000)
