"""No id is used twice, whatever is missing after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.damage import appended_id, flip
from support.spools import Pipe, crashing, fresh, route, take


async def test_after_a_crash_the_numbers_go_on(tmp_path: Path) -> None:
    async with crashing(tmp_path) as (spool, crashed):
        await Pipe(spool).append(fresh(10))
        identity = spool.id
        crashed()
    assert await appended_id(tmp_path) == f"{identity}-11"


@pytest.mark.parametrize("what", ["missing", "flipped", "empty"])
async def test_no_id_is_used_twice_when_the_log_is_damaged(tmp_path: Path, what: str) -> None:
    await appended_id(tmp_path)
    async with crashing(tmp_path) as (spool, crashed):
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        for _ in range(10):
            await pipe.append(fresh(10))
        used = {message.id for message in await take(reader, 100)}
        crashed()
    wal = tmp_path / "spool.db-wal"
    if what == "missing":
        wal.unlink()
    elif what == "empty":
        wal.write_bytes(b"")
    else:
        flip(wal, wal.stat().st_size // 2)
    assert await appended_id(tmp_path) not in used


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
async def test_a_database_that_is_gone_while_its_log_is_there_begins_anew_under_the_same_id(tmp_path: Path, left: str) -> None:
    async with crashing(tmp_path) as (spool, crashed):
        await Pipe(spool).append(fresh(10))
        identity = spool.id
        crashed()
    (tmp_path / "spool.db").unlink()
    if left == "an empty file":
        (tmp_path / "spool.db").write_bytes(b"")
    assert await appended_id(tmp_path) == f"{identity}-11"
