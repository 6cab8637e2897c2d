"""The promises of `edgerouter.spool.contract`, as tests that every spool passes.

A test class derives from `SpoolContract`, or from `DurableSpoolContract`, and has the fixture `opened`.
"""

from __future__ import annotations

import asyncio

import pytest

from edgerouter.errors import SpoolError
from edgerouter.message import Message, Properties
from support.dead_letter_contract import DeadLetterContract, Opened
from support.spools import (
    Pipe,
    fresh,
    ledger,
    noise,
    none_left,
    payloads,
    rejected,
    route,
    sequences,
    sound,
    take,
    take_some,
    times,
    until,
)


class SpoolContract(DeadLetterContract):
    """Promises that need no restart."""

    @pytest.fixture
    def opened(self) -> Opened:
        """Return the function that opens the spool."""
        raise NotImplementedError

    async def test_what_is_appended_is_read_in_order_with_unique_ids(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            await pipe.append(fresh(3))
            await pipe.append(fresh(2500))
            messages = await take(reader, 2503)

            assert payloads(messages) == payloads(fresh(3) + fresh(2500))
            assert sequences(messages) == sorted({m.sequence for m in messages})
            assert len({m.id for m in messages}) == 2503
            assert messages[0].id == f"{spool.id}-{messages[0].sequence}"
            assert reader.ledger == ledger(matched=2503)
            await none_left(reader)

    async def test_a_message_of_each_kind_comes_back_equal(self, opened: Opened) -> None:
        properties = Properties((("k", "v"), ("k", "w")), "text/plain", "r/t", b"\0\1", 60, True)
        sent = [Message("t", b"", 1_000), Message("a/ü/✓", bytes(range(256)) * 10, 2**62, 2, True, properties)]
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            await pipe.append(sent)
            for before, after in zip(sent, await take(reader, 2), strict=True):
                assert (before.topic, before.payload, before.qos) == (after.topic, after.payload, after.qos)
                assert (before.retained, before.properties) == (after.retained, after.properties)

    async def test_each_sink_reads_what_its_filters_match_and_settles_by_itself(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            every, some, none = await pipe.attach(route("every"), route("some", "a/#"), route("none", "zzz"))
            mixed = [m for pair in zip(fresh(100, topic="a/1"), fresh(100, topic="b/1"), strict=True) for m in pair]

            await pipe.append(mixed)
            every.delivered(await take(every, 200))
            half = await take(some, 100)
            some.delivered(half[:30])

            assert {m.topic for m in half} == {"a/1"}
            assert every.ledger == ledger(matched=200, delivered=200)
            assert some.ledger == ledger(matched=100, delivered=30)
            assert none.ledger == ledger()
            await none_left(none)
            assert every.oldest_pending_at is None
            assert some.oldest_pending_at is not None
            await sound(spool)

    async def test_deliveries_are_acknowledged_in_the_order_in_which_they_were_appended(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            groups = [fresh(3, topic=f"t/{n}") for n in range(50)]
            await asyncio.gather(*(pipe.append(group) for group in groups))
            reader.delivered(await take(reader, 150))
            await until(lambda: len(pipe.acknowledged) == 50)
            assert pipe.acknowledged == groups

    async def test_settling_twice_counts_once(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            await pipe.append(fresh(10))
            messages = await take(reader, 10)

            reader.delivered(messages[:6])
            reader.delivered(messages[3:8])
            reader.dropped(messages[:8], "policy")

            assert reader.ledger == ledger(matched=10, delivered=8)
            assert [reader.is_pending(m) for m in messages] == [False] * 8 + [True] * 2
            assert not spool.drops

    async def test_every_way_of_settling_is_counted(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            await pipe.append(fresh(10))
            messages = await take(reader, 10)
            reader.delivered(messages[:4])
            reader.filtered(messages[4:6])
            reader.dropped(messages[6:7], "policy")
            await reader.dead_letter(rejected(messages[7:9]))
            assert reader.ledger == ledger(10, 4, 2, 1, 2)
            assert spool.drops == {("sink", "a", "policy"): 1}
            assert dict(spool.ledgers) == {"sink": reader.ledger}
            await sound(spool)

    async def test_what_is_given_back_comes_again_in_order_before_newer_ones(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            await pipe.append(fresh(20))
            messages = await take(reader, 10)

            reader.give_back(messages[6:8])
            reader.give_back(messages[2:4])
            reader.give_back(messages[2:4])

            assert payloads(await take(reader, 14, most=3)) == [b"2", b"3", b"6", b"7", *times(10, 20)]
            await none_left(reader)

    async def test_a_sink_that_is_new_starts_now_or_at_the_oldest(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            await pipe.attach(route("holder"))
            await pipe.append(fresh(10, topic="a"))
            await pipe.append(fresh(10, topic="b"))

            now, oldest = await pipe.attach(route("now"), route("oldest", "b", start="oldest"))
            await pipe.append(fresh(5, topic="b"))
            assert payloads(await take(oldest, 15)) == times(0, 10) + times(0, 5)
            assert payloads(await take(now, 5)) == times(0, 5)
            assert oldest.ledger == ledger(matched=15)
            assert now.ledger == ledger(matched=5)

    async def test_a_detached_sink_keeps_what_it_has_and_wants_nothing_new(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            await pipe.attach(route("sink"))
            await pipe.append(fresh(3))
            await spool.detach("sink")
            del pipe.routes["sink"]
            await pipe.append(fresh(3))
            assert spool.status.orphans == ("sink",)
            assert spool.ledgers["sink"].pending == 3
            (reader,) = await pipe.attach(route("sink"))
            await pipe.append(fresh(1))
            assert payloads(await take(reader, 4)) == [*times(0, 3), b"0"]
            assert reader.ledger == ledger(matched=4)

    async def test_a_forgotten_sink_holds_nothing_any_more(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            await pipe.attach(route("sink"))
            await pipe.append(fresh(3))
            with pytest.raises(SpoolError, match="is in the configuration"):
                await spool.forget("sink")
            await spool.detach("sink")
            await spool.forget("sink")
            await spool.flush()
            await until(lambda: spool.status.orphans == () and spool.status.messages == 0)
            with pytest.raises(SpoolError, match="holds nothing for a sink"):
                await spool.forget("sink")

    async def test_changed_filters_are_counted_for_what_waits(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink", "a", "b"))
            for topic in ("a", "b", "c"):
                await pipe.append(fresh(10, topic=topic))
            reader.delivered((await take(reader, 10))[:4])
            (reader,) = await pipe.attach(route("sink", "a"))
            assert reader.ledger == ledger(matched=20, delivered=4, filtered=10), "those of b are not wanted any more"
            await pipe.append(fresh(3, topic="a"))
            assert payloads(await take(reader, 9)) == times(4, 10) + times(0, 3)
            assert reader.ledger == ledger(matched=23, delivered=4, filtered=10)
            await sound(spool)

    async def test_live_first_serves_new_messages_before_the_backlog(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            await pipe.append(fresh(100, topic="old"))
            (reader,) = await pipe.attach(route("sink", drain="live_first"))
            await pipe.append(fresh(10, topic="live"))
            first = await take(reader, 20, most=10)
            assert {m.topic for m in first[:10]} | {m.topic for m in first[10:]} == {"live", "old"}
            assert len(await take(reader, 90)) == 90

    async def test_a_backlog_larger_than_the_cache_is_read_again(self, opened: Opened) -> None:
        async with opened(cache_bytes=10_000) as spool:
            pipe = Pipe(spool)
            every, some = await pipe.attach(route("every"), route("some", "x/3"))
            for n in range(60):
                await pipe.append(fresh(20, topic=f"x/{n % 20}"))
            assert [m.topic for m in await take(every, 1200)] == [f"x/{n % 20}" for n in range(60) for _ in range(20)]
            assert payloads(await take(some, 60)) == times(0, 20) * 3

    async def test_a_count_of_dropped_messages_of_a_source_is_kept_by_topic(self, opened: Opened) -> None:
        async with opened() as spool:
            spool.count_dropped("a/b", 3, "too_large")
            assert spool.drops == {("", "a", "too_large"): 3}

    async def test_a_full_spool_blocks_until_a_sink_settles(self, opened: Opened) -> None:
        async with opened(max_bytes="1MiB") as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))

            async def feed() -> None:
                for n in range(40):
                    await pipe.append(fresh(10, payload=lambda k, n=n: noise(n * 10 + k)))  # type: ignore[misc]

            feeding = asyncio.create_task(feed())
            got = 0
            while got < 400:
                async with asyncio.timeout(20):
                    messages = await take_some(reader, 20)
                got += len(messages)
                reader.delivered(messages)
            await feeding
            await until(lambda: len(pipe.acknowledged) == 40)
            await until(lambda: spool.status.state == "ok")
            assert reader.ledger == ledger(400, 400)
            assert not spool.drops
