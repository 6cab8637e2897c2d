"""A full spool blocks, or drops and counts, as `on_full` says, and admits deliveries again once there is room."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import apsw
import pytest

from edgerouter.spool import open_spool
from support.failing_store import Failing
from support.spools import Pipe, fresh, ledger, route, sequences, sound, sqlite, take, take_some, until


async def test_a_full_spool_blocks_until_a_sink_settles(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path, max_bytes="1MiB")) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))

        async def feed() -> None:
            for _ in range(60):
                await pipe.append(fresh(50, payload=lambda n: os.urandom(1000)))

        feeding = asyncio.create_task(feed())
        await until(lambda: spool.status.state == "full")
        held = len(pipe.acknowledged)
        assert 5 <= held < 40
        got = 0
        while got < 3000:
            async with asyncio.timeout(10):
                messages = await take_some(reader, 100)
            got += len(messages)
            reader.delivered(messages)
            assert spool.status.bytes <= 1024 * 1024
        await feeding
        assert spool.status.state == "ok"
        assert reader.ledger == ledger(3000, 3000)
        assert spool.drops == {}


async def test_a_full_spool_drops_the_oldest_and_counts_them_by_sink_topic_and_reason(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path, max_bytes="1MiB", on_full="drop_oldest", cache_bytes=100_000)) as spool:
        pipe = Pipe(spool)
        every, some = await pipe.attach(route("every"), route("some", "b/#"))
        await pipe.append(fresh(5))
        in_flight = await take(every, 5)
        for _ in range(60):
            await pipe.append(
                [m for n in range(25) for t in ("a/1", "b/1") for m in fresh(1, topic=t, payload=lambda n: os.urandom(1000))]
            )
            assert spool.status.bytes <= 1024 * 1024
        every.delivered(in_flight)
        dropped = every.ledger.dropped
        assert every.ledger.matched == 3005
        assert every.ledger.delivered == 0, "they were dropped while they were in flight"
        assert 1000 < dropped < 2900
        assert spool.drops["every", "a", "spool_full"] + spool.drops["every", "b", "spool_full"] == dropped
        assert spool.drops["some", "b", "spool_full"] == some.ledger.dropped
        left = await take(every, every.ledger.pending)
        assert sequences(left) == list(range(3006 - len(left), 3006))
        await sound(spool)
        some.delivered(await take(some, some.ledger.pending))
        every.delivered(left)
        assert every.ledger.pending == some.ledger.pending == 0


async def test_a_full_spool_drops_the_newest_and_acknowledges_them(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path, max_bytes="1MiB", on_full="drop_newest")) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink", "a/#"))
        for _ in range(60):
            await pipe.append(fresh(50, payload=lambda n: os.urandom(1000)))
        assert len(pipe.acknowledged) == 60
        kept = reader.ledger.pending
        assert reader.ledger == ledger(3000, 0, 0, 3000 - kept)
        assert spool.drops == {("sink", "a", "spool_full"): 3000 - kept}
        assert sequences(await take(reader, kept)) == list(range(1, kept + 1))
        await sound(spool)


@pytest.mark.parametrize("retain", [0, 3600])
async def test_room_is_made_of_retained_messages_and_then_of_orphans(tmp_path: Path, retain: int) -> None:
    async with open_spool(sqlite(tmp_path, max_bytes="1MiB", retain={"age": retain})) as spool:
        pipe = Pipe(spool)
        (gone,) = await pipe.attach(route("gone"))
        await pipe.append(fresh(300, payload=lambda n: os.urandom(1000)))
        gone.delivered((await take(gone, 300))[:100])
        await spool.detach("gone")
        (reader,) = await pipe.attach(route("sink"))
        for n in range(60 if retain else 24):
            async with asyncio.timeout(10):
                await pipe.append(fresh(50, payload=lambda n: os.urandom(1000)))
            if retain or n < 12:
                reader.delivered(await take(reader, 50))
        assert spool.status.orphans == (("gone",) if retain else ())
        assert reader.ledger == (ledger(3000, 3000) if retain else ledger(1200, 600))
        assert spool.drops == ({} if retain else {("gone", "", "spool_full"): 200})


async def test_little_free_space_on_the_disk_counts_as_full(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path, min_free_bytes=10**18)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pipe.append(fresh(100, payload=lambda n: bytes(100_000)))
        assert spool.status.state == "full"
        assert "min_free_bytes" in spool.status.reason
        reader.delivered(await take(reader, 1))
        assert len(pipe.acknowledged) == 1, "who gave up waiting is not stored"


async def test_what_is_settled_is_stored_while_deliveries_have_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(10))
        failing = Failing(monkeypatch)
        failing.error, failing.only_appends = apsw.FullError("x"), True
        appending = asyncio.create_task(pipe.append(fresh(5)))
        reader.delivered(await take(reader, 10))
        await until(lambda: spool.status.messages == 0)
        assert spool.status.state == "full"
        failing.error = None
        async with asyncio.timeout(10):
            await appending
