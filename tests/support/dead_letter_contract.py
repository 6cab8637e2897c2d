"""The promises of a spool about its dead letters, as tests that each spool passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from edgerouter.spool.contract import Spool
from edgerouter.spool.operator import DeadLetterFilter
from support.spools import Pipe, fresh, ledger, none_left, payloads, rejected, route, sound, take, until

Opened = Callable[..., AbstractAsyncContextManager[Spool]]
"""Opens the spool of the test, each time the same one, with these settings beside its own."""


class DeadLetterContract:
    """Promises about dead letters."""

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
