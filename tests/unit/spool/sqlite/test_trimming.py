"""Chunks that every sink has settled are deleted, so that the file stays small.

Covers also: edgerouter.spool.sqlite.db.trim.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgerouter.spool import open_spool
from support.spools import Pipe, fresh, route, sqlite, take


async def test_settled_chunks_are_deleted_though_a_slow_sink_holds_others(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        fast, _slow = await pipe.attach(route("fast"), route("slow", "rare"))
        for n in range(40):
            await pipe.append(fresh(10, topic="rare" if n % 20 == 5 else "often"))
        fast.delivered(await take(fast, 400))
        while spool.status.messages > 20:
            await spool.flush()
            await asyncio.sleep(0)
        assert spool.status.messages == 20, "the two chunks that the slow sink wants"
        assert spool.status.first_sequence == 51


async def test_the_file_does_not_grow_when_everything_is_delivered(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        sizes = []
        for n in range(60):
            await pipe.append(fresh(100, payload=lambda n: bytes(hash((n, i)) % 256 for i in range(200))))
            reader.delivered(await take(reader, 100))
            await spool.flush()
            sizes.append(spool.status.bytes)
        assert max(sizes[30:]) <= max(sizes[:30])


async def test_while_deliveries_come_what_is_settled_is_deleted_once_a_second_and_else_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(10))
        reader.delivered(await take(reader, 10))
        await spool.flush()
        assert spool.status.messages == 0

        with monkeypatch.context() as patch:
            loop = asyncio.get_running_loop()
            now = loop.time()
            patch.setattr(loop, "time", lambda: now)  # however slow this machine is
            for _ in range(3):
                await pipe.append(fresh(10))
                reader.delivered(await take(reader, 10))
            assert spool.status.messages == 30, "a deletion with each delivery would write its pages each time"
        await spool.flush()
        assert spool.status.messages == 0


async def test_while_deliveries_come_much_that_is_settled_is_deleted_with_the_next(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(1))
        reader.delivered(await take(reader, 1))
        await spool.flush()

        for _ in range(23):
            await pipe.append(fresh(900))
            reader.delivered(await take(reader, 900))
        await pipe.append(fresh(1))
        assert spool.status.messages <= 901
