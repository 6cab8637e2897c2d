"""The durable spool's policies: dead letters, kept batches, receipts, replay, a failing disk.

Covers: edgerouter.spool.log.change, edgerouter.spool.log.replay, edgerouter.spool.operator,
edgerouter.spool.sqlite.batches, edgerouter.spool.sqlite.db.dead_letter_rows, edgerouter.spool.sqlite.dead_letters,
edgerouter.spool.sqlite.losses, edgerouter.spool.sqlite.operator.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import apsw
import pytest

from edgerouter.message import Message
from edgerouter.spool import open_spool
from edgerouter.spool.operator import DeadLetterFilter
from support.failing_store import Failing
from support.spools import Pipe, crashing, delivery, fresh, ledger, payloads, rejected, route, sequences, sound, sqlite, take, until


async def test_dead_letters_are_kept_with_their_cause_and_count(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(10))
        messages = await take(reader, 10)
        await reader.dead_letter(rejected(messages[2:4]))
        await reader.dead_letter(rejected(messages[2:4]))
        reader.delivered(messages)
        assert reader.ledger == ledger(10, 8, 2, 0)
        assert spool.status.dead_letters == 2
    async with open_spool(sqlite(tmp_path)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        assert reader.ledger == ledger(10, 8, 2, 0)
        letters = await spool.tools.dead_letters(DeadLetterFilter())
        assert [letter.message for letter in letters] == messages[2:4]
        assert (letters[0].sink, letters[0].reason, letters[0].error) == ("sink", "too large", "Rejected")
        assert (letters[0].attempts, letters[0].first_attempt, letters[0].config_digest) == (3, 17, "digest")
        assert spool.status.messages == 0, "a letter does not hold its chunk"
        await sound(spool)


async def test_replayed_dead_letters_go_to_their_sink_alone(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        a, b = await pipe.attach(route("a", "x/#"), route("b"))
        await pipe.append(fresh(4, topic="x/1"))
        b.delivered(await take(b, 4))
        await a.dead_letter(rejected(await take(a, 4)))
        assert a.ledger == ledger(4, 0, 4, 0)

        assert await spool.tools.replay_dead_letters(DeadLetterFilter(numbers=(1, 2))) == 2

        assert a.ledger == ledger(4, 0, 2, 0)
        assert payloads(await take(a, 2)) == [b"0", b"1"]
        assert b.take(10) == []
        assert b.ledger == ledger(4, 4)
        await sound(spool)
    async with open_spool(sqlite(tmp_path)) as spool:
        a, b, c = await Pipe(spool).attach(route("a", "x/#"), route("b"), route("c", start="oldest"))
        again = await take(a, 2)
        assert payloads(again) == [b"0", b"1"]
        a.delivered(again)
        assert b.take(10) == c.take(10) == []
        await spool.flush()
        await spool.flush()
        assert spool.status.messages == 0
        assert spool.status.dead_letters == 2


async def test_dead_letters_beyond_their_quota_drop_the_oldest_and_count_it(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path, dead_letter_bytes=20_000)) as spool:
        pipe = Pipe(spool)
        (a,) = await pipe.attach(route("a"))
        for _ in range(10):
            await pipe.append(fresh(10, payload=lambda n: b"x" * 1000))
            await a.dead_letter(rejected(await take(a, 10)))
        await until(lambda: spool.status.dead_letter_bytes <= 20_000)
        await spool.flush()
        letters = await spool.tools.dead_letters(DeadLetterFilter())
        assert len(letters) > 14, "no more are dropped than have to be"
        assert letters[-1].message.sequence == 100
        assert a.ledger == ledger(100, 0, len(letters), 100 - len(letters))
        assert spool.drops == {("a", "a", "dead_letters_full"): 100 - len(letters)}
        await sound(spool)


async def test_receipts_of_the_last_commit_are_given_back_until_acknowledged(tmp_path: Path) -> None:
    async with crashing(tmp_path) as (spool, crashed):
        pipe = Pipe(spool)
        await pipe.attach(route("sink"))
        await pipe.append(fresh(3), b"one")
        await asyncio.gather(pipe.append(fresh(2), b"two"), pipe.append(fresh(1500), b"three", "other"), pipe.append(fresh(1)))
        crashed()
    async with open_spool(sqlite(tmp_path)) as spool:
        (found,) = spool.unacknowledged("other")
        assert found.receipt == b"three"
        assert [(m.spool, m.sequence) for m in found.messages] == [(spool.id, n) for n in range(6, 1506)]
        assert not spool.unacknowledged("source"), "the commit after theirs says that they were acknowledged"
    async with open_spool(sqlite(tmp_path)) as spool:
        assert not spool.unacknowledged("source"), "they were acknowledged when the spool was closed"


async def test_retained_messages_can_be_replayed_by_topic_and_time(tmp_path: Path) -> None:
    retain = {"bytes": 1_000_000}
    async with open_spool(sqlite(tmp_path, retain=retain)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink", "a", "b"))
        for topic in ("a", "b", "c"):
            await pipe.append(fresh(10, topic=topic))
        reader.delivered(await take(reader, 20))
        await spool.flush()
        await spool.flush()
        assert spool.status.messages == 30

        start = fresh(1)[0].received_at + 10_000  # of the second ten: times rise from one append to the next
        assert await spool.tools.replay("sink", dry_run=True) == 20
        assert await spool.tools.replay("sink", topic="b", since=start + 5_000, dry_run=True) == 5
        assert reader.ledger == ledger(20, 20)
        assert await spool.tools.replay("sink", topic="b", since=start + 5_000, until=start + 8_000) == 3
        assert reader.ledger == ledger(23, 20)
        again = await take(reader, 3)
        assert sequences(again) == [16, 17, 18]
        reader.delivered(again)
        assert reader.ledger == ledger(23, 23)
        assert await spool.tools.replay("sink") == 20
        assert await spool.tools.replay("sink") == 0, "what is pending is not replayed again"
        await sound(spool)
    async with open_spool(sqlite(tmp_path, retain=retain)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink", "b", "a"))
        assert sequences(await take(reader, 20)) == list(range(1, 21))


async def test_retained_messages_are_bounded_in_bytes_and_survive_restarts(tmp_path: Path) -> None:
    for _ in range(2):
        async with open_spool(sqlite(tmp_path, retain={"bytes": 30_000})) as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            for _ in range(20):
                await pipe.append(fresh(10, payload=lambda n: os.urandom(500)))
                reader.delivered(await take(reader, 10))
            await spool.flush()
            await spool.flush()
            assert 30 <= spool.status.messages <= 60
            await sound(spool)


@pytest.mark.parametrize(
    ("error", "state"),
    [(apsw.FullError("x"), "full"), (apsw.ReadOnlyError("x"), "read_only"), (apsw.IOError("x"), "failing")],
)
async def test_a_failing_disk_is_a_state_and_everything_goes_on_by_itself(
    tmp_path: Path, error: Exception, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(10))
        await spool.flush()
        failing = Failing(monkeypatch)
        failing.error = error
        appending = asyncio.create_task(pipe.append(fresh(5)))
        messages = await take(reader, 10)
        reader.delivered(messages[:5])
        lettering = asyncio.create_task(reader.dead_letter(rejected(messages[5:])))
        await until(lambda: failing.attempts > 3)
        assert spool.status.state == state
        assert not appending.done()
        assert reader.ledger.delivered == 5

        failing.error = None
        async with asyncio.timeout(10):
            await appending
            await lettering
        assert spool.status.state == "ok"
        assert reader.ledger == ledger(15, 5, 5)
        await sound(spool)
    async with open_spool(sqlite(tmp_path)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        assert sequences(await take(reader, 5)) == list(range(11, 16))


async def test_a_delivery_that_cannot_be_stored_at_all_fails_alone(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        bad = [Message("lone \ud800 surrogate", b"", 0)]
        with pytest.raises(UnicodeEncodeError):
            await spool.append("source", delivery(bad), {"sink": 1})
        await pipe.append(fresh(1))
        assert sequences(await take(reader, 1)) == [1]


async def test_an_acknowledgement_that_fails_does_not_hold_up_the_next(tmp_path: Path) -> None:
    from edgerouter.source import Delivery

    def broken() -> None:
        raise RuntimeError("connection is gone")

    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await spool.append("source", Delivery(fresh(1), broken), {"sink": 1})
        await pipe.append(fresh(1))
        assert len(await take(reader, 2)) == 2
