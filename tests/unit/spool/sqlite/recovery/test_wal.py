"""Damage that SQLite takes for the torn end of its log is repaired, except after a power cut."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgerouter.spool import open_spool
from edgerouter.spool.sqlite.recovery.wal import Log
from support.damage import COUNT, drain, flip
from support.spools import Pipe, crashing, fresh, ledger, route, sqlite, take


@pytest.mark.usefixtures("without_journal")
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
async def test_a_flipped_byte_in_the_log_costs_no_commit_behind_it(tmp_path: Path, place: float) -> None:
    """A part that SQLite treats as the torn end of the log is repaired, and everything acknowledged behind it is there."""
    async with crashing(tmp_path) as (spool, crashed):
        pipe = Pipe(spool)
        every, some = await pipe.attach(route("every"), route("some", "a/#"))
        for n in range(COUNT // 50):
            await pipe.append(fresh(50, topic=f"{'ab'[n % 2]}/{n}", payload=lambda n: os.urandom(100)))
        every.delivered(await take(every, 1000))
        await spool.flush()
        crashed()
    log = tmp_path / "spool.db-wal"
    assert log.stat().st_size > 1_000_000
    flip(log, int(log.stat().st_size * place))
    async with open_spool(sqlite(tmp_path)) as spool:
        every, some = await Pipe(spool).attach(route("every"), route("some", "a/#"))
        got = await drain(every, spool)
        assert got[-1] == COUNT
        assert len(set(range(1001, COUNT + 1)) - set(got)) <= 50
        assert every.ledger == ledger(COUNT, len(got) + 1000, 0, COUNT - 1000 - len(got))
        await drain(some, spool)
        assert (await spool.tools.verify()).problems == ()


@pytest.mark.usefixtures("without_journal")
async def test_a_log_that_a_power_cut_has_torn_is_not_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last commit came to the disk in part: what is there of it must not be taken for the whole."""
    async with crashing(tmp_path, synchronous="full") as (spool, crashed):
        pipe = Pipe(spool)
        await pipe.attach(route("every"))
        for _ in range(20):
            await pipe.append(fresh(10, payload=lambda _: os.urandom(2000)))
        crashed()
    log = tmp_path / "spool.db-wal"
    with log.open("r+b") as opened:
        opened.seek(-3 * 4120, os.SEEK_END)
        opened.write(bytes(512))
    monkeypatch.setattr("edgerouter.spool.sqlite.high_water.boot_id", lambda: b"another start of the machine")
    async with open_spool(sqlite(tmp_path)) as spool:
        (every,) = await Pipe(spool).attach(route("every"))
        assert await drain(every, spool) == list(range(1, 191))
        assert (await spool.tools.verify()).problems == ()


async def test_nothing_is_mended_after_a_mere_kill(tmp_path: Path) -> None:
    async with crashing(tmp_path) as (spool, crashed):
        for _ in range(30):
            await Pipe(spool).append(fresh(10))
        crashed()
    left = Log(tmp_path / "spool.db")
    assert left.note == b"normal"
    assert not left.cut
    assert left.mend(torn=False) is None
