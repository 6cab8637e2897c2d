"""The promises of `edgerouter.spool.contract`, as tests that every spool passes.

A test class derives from `SpoolContract`, or from `DurableSpoolContract`, and has the fixture `opened`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from edgerouter.errors import SpoolError
from edgerouter.message import Message, Properties
from edgerouter.spool.contract import Reader, Rejection, Spool
from edgerouter.spool.operator import DeadLetterFilter
from support.spools import Pipe, fresh, ledger, payloads, route, sequences, take, take_some

Opened = Callable[..., AbstractAsyncContextManager[Spool]]
"""Opens the spool of the test, each time the same one, with these settings beside its own."""


def rejected(messages: Sequence[Message], reason: str = "too large") -> list[Rejection]:
    """Reject messages."""
    return [Rejection(message, reason, "Rejected", 3, 17, "digest") for message in messages]


def times(first: int, last: int) -> list[bytes]:
    """Payloads of `fresh` by number."""
    return [b"%d" % number for number in range(first, last)]


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def none_left(reader: Reader) -> None:
    """Check that nothing more comes, now that all chunks are in memory or were looked for."""
    await until(lambda: reader.caught_up or bool(reader.take(0)))
    assert reader.take(10) == []


async def sound(spool: Spool) -> None:
    """Check everything that the spool can check by itself."""
    assert (await spool.tools.verify()).problems == ()


class SpoolContract:
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

    async def test_dead_letters_are_kept_with_their_cause_and_count(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            await pipe.append(fresh(10))
            messages = await take(reader, 10)
            await reader.dead_letter(rejected(messages[2:4]))
            await reader.dead_letter(rejected(messages[2:4]))
            reader.delivered(messages)
            assert reader.ledger == ledger(10, 8, 2, 0)
            letters = await spool.tools.dead_letters(DeadLetterFilter())
            assert [letter.message for letter in letters] == messages[2:4]
            assert (letters[0].sink, letters[0].reason, letters[0].error) == ("sink", "too large", "Rejected")
            assert (letters[0].attempts, letters[0].first_attempt, letters[0].config_digest) == (3, 17, "digest")
            await until(lambda: spool.status.dead_letters == 2 and spool.status.messages == 0)
            await sound(spool)

    async def test_dead_letters_are_found_by_sink_topic_time_reason_and_number(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            a, b = await pipe.attach(route("a"), route("b"))
            await pipe.append(fresh(2, topic="x/1") + fresh(2, topic="y/1"))
            before = time.time_ns()
            await a.dead_letter(rejected(await take(a, 4), "Too LARGE"))
            await b.dead_letter(rejected((await take(b, 4))[:1], "malformed"))
            count = spool.tools.count_dead_letters
            assert await count(DeadLetterFilter()) == 5
            assert await count(DeadLetterFilter(sink="a")) == 4
            assert await count(DeadLetterFilter(topic="x/#")) == 3
            assert await count(DeadLetterFilter(sink="a", topic="+/1", reason="too large")) == 4
            assert await count(DeadLetterFilter(reason="rejected")) == 5
            assert await count(DeadLetterFilter(since=before)) == 5
            assert await count(DeadLetterFilter(until=before)) == 0
            assert await count(DeadLetterFilter(numbers=(2, 5, 99))) == 2
            letters = spool.tools.dead_letters
            assert [letter.number for letter in await letters(DeadLetterFilter(topic="y/1"), limit=1)] == [3]
            assert [letter.number for letter in await letters(DeadLetterFilter(topic="y/1"), after=3)] == [4]

    async def test_replayed_dead_letters_go_to_their_sink_alone(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            a, b = await pipe.attach(route("a", "x/#"), route("b"))
            await pipe.append(fresh(4, topic="x/1"))
            b.delivered(await take(b, 4))
            await a.dead_letter(rejected(await take(a, 4)))

            assert await spool.tools.replay_dead_letters(DeadLetterFilter(numbers=(1, 2))) == 2

            again = await take(a, 2)
            assert payloads(again) == [b"0", b"1"]
            assert a.ledger == ledger(4, 0, 2, 0)
            await none_left(b)
            assert b.ledger == ledger(4, 4)
            a.delivered(again)
            await sound(spool)

    async def test_purged_dead_letters_are_dropped(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (a,) = await pipe.attach(route("a"))
            await pipe.append(fresh(3))
            await a.dead_letter(rejected(await take(a, 3)))
            assert await spool.tools.purge_dead_letters(DeadLetterFilter(numbers=(2,))) == 1
            assert a.ledger == ledger(3, 0, 2, 1)
            assert spool.drops == {("a", "a", "purged"): 1}
            await sound(spool)

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
                    await pipe.append(fresh(10, payload=lambda k, n=n: _noise(n * 10 + k)))  # type: ignore[misc]

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


class DurableSpoolContract(SpoolContract):
    """Promises over a restart, of a spool that keeps what it has acknowledged."""

    async def test_after_a_restart_only_what_is_not_settled_comes_again(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            await pipe.append(fresh(50))
            messages = await take(reader, 50)
            reader.delivered(messages[:10] + messages[20:30])
            reader.dropped(messages[10:15], "policy")
            identity, last = spool.id, messages[-1].sequence
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            assert spool.id == identity
            assert reader.ledger == ledger(matched=50, delivered=20, dropped=5)
            assert payloads(await take(reader, 25)) == times(15, 20) + times(30, 50)
            await none_left(reader)
            await pipe.append(fresh(1))
            assert (await take(reader, 1))[0].sequence > last
            await sound(spool)

    async def test_filters_that_changed_while_the_router_was_stopped_are_counted(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink", "a", "b"))
            for topic in ("a", "b", "c"):
                await pipe.append(fresh(10, topic=topic))
            reader.delivered((await take(reader, 10))[:4])
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink", "a"))
            await until(lambda: not reader.ledger.uncounted)
            assert reader.ledger == ledger(matched=20, delivered=4, filtered=10), "those of b are not wanted any more"
            await pipe.append(fresh(3, topic="a"))
            assert payloads(await take(reader, 9)) == times(4, 10) + times(0, 3)
            assert reader.ledger == ledger(matched=23, delivered=4, filtered=10)

    async def test_dead_letters_and_their_replay_survive_a_restart(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (a,) = await pipe.attach(route("a"))
            await pipe.append(fresh(3))
            await a.dead_letter(rejected(await take(a, 3)))
        async with opened() as spool:
            assert await spool.tools.replay_dead_letters(DeadLetterFilter()) == 3
            await sound(spool)
        async with opened() as spool:
            (a,) = await Pipe(spool).attach(route("a"))
            assert payloads(await take(a, 3)) == [b"0", b"1", b"2"]
            assert a.ledger == ledger(3)

    async def test_a_kept_batch_comes_back_as_it_was_after_a_restart(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink", "a/+"))
            await pipe.append(fresh(10, topic="a/1") + fresh(5, topic="b") + fresh(10, topic="a/2"))
            messages = await take(reader, 20)
            first, second, third = messages[0:8:2], messages[1:12:2], messages[12:15]
            for batch in (first, second, third):
                await reader.keep_batch(batch)
            reader.delivered(third)
            await reader.keep_batch(first[:2])
        async with opened() as spool:
            (reader,) = await Pipe(spool).attach(route("sink", "a/+"))
            kept = await reader.kept_batches()
            assert kept == [first[2:], second, first[:2]]
            rest = await take(reader, 20 - 3 - 4 - len(second))
            assert not {m.sequence for m in rest} & {m.sequence for batch in [*kept, third] for m in batch}
            await none_left(reader)
            for batch in [*kept, rest]:
                reader.delivered(batch)
            assert reader.ledger == ledger(20, 20)

    async def test_retained_messages_can_be_replayed_by_topic(self, opened: Opened) -> None:
        retain: dict[str, Any] = {"retain": {"bytes": 1_000_000}}
        async with opened(**retain) as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink", "a", "b"))
            for topic in ("a", "b", "c"):
                await pipe.append(fresh(10, topic=topic))
            reader.delivered(await take(reader, 20))
            await spool.flush()
            assert await spool.tools.replay("sink", dry_run=True) == 20
            assert await spool.tools.replay("sink", topic="b") == 10
            assert {m.topic for m in await take(reader, 10)} == {"b"}
            assert reader.ledger == ledger(30, 20)
            with pytest.raises(SpoolError, match="holds nothing for a sink 'other'"):
                await spool.tools.replay("other")
        async with opened(**retain) as spool:
            (reader,) = await Pipe(spool).attach(route("sink", "a", "b"))
            assert len(await take(reader, 10)) == 10

    async def test_receipts_are_given_back_until_they_are_confirmed(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            await pipe.attach(route("sink"))
            await pipe.append(fresh(3), b"one")
            assert not spool.unacknowledged("other")

    async def test_what_the_spool_holds_is_read_page_by_page(self, opened: Opened) -> None:
        async with opened() as spool:
            pipe = Pipe(spool)
            await pipe.attach(route("sink"))
            await pipe.append(fresh(30))
            found, start = [], 0
            while True:
                page = await spool.tools.stored(start)
                found += payloads(page.messages)
                if not page.next:
                    break
                start = page.next
            assert found == times(0, 30)


def _noise(seed: int, size: int = 8000) -> bytes:
    """Return bytes that do not compress, the same for each seed."""
    import random

    return random.Random(seed).randbytes(size)
