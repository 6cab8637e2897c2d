"""The promises that a durable spool keeps over a restart, as tests that each passes."""

from __future__ import annotations

from typing import Any

import pytest

from edgerouter.errors import SpoolError
from edgerouter.spool.operator import DeadLetterFilter
from support.dead_letter_contract import Opened
from support.spool_contract import SpoolContract
from support.spools import Pipe, fresh, ledger, none_left, payloads, rejected, route, sound, take, times, until


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
