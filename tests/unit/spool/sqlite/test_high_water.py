"""The mark notices commits that are missing from the database, and keeps their numbers from being used twice."""

import shutil
from pathlib import Path

import pytest

from edgerouter.config.model import SpoolConfig
from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Spool
from edgerouter.spool.sqlite.high_water import FILE, HighWaterMark
from support.spools import files_after_a_kill, restore


async def append(spool: Spool, count: int) -> None:
    await spool.append("source", Delivery([Message("t", b"x", 1) for _ in range(count)], lambda: None), {})


async def test_an_old_copy_of_the_database_is_noticed_and_its_numbers_are_not_used_twice(tmp_path: Path) -> None:
    config = SpoolConfig(path=tmp_path)
    async with open_spool(config) as spool:
        identity = spool.id
        await append(spool, 10)
    shutil.copy(tmp_path / "spool.db", tmp_path / "copy")
    async with open_spool(config) as spool:
        await append(spool, 7)
    (tmp_path / "copy").rename(tmp_path / "spool.db")
    async with open_spool(config) as spool:
        assert spool.id == identity
        assert spool.status.last_sequence == 17
        assert (spool.status.quarantined_chunks, spool.status.quarantined_messages) == (1, 7)
        await append(spool, 1)
        assert spool.status.last_sequence == 18


async def test_a_lost_database_keeps_its_id_so_that_the_brokers_session_goes_on(tmp_path: Path) -> None:
    config = SpoolConfig(path=tmp_path)
    async with open_spool(config) as spool:
        identity = spool.id
        await append(spool, 10)
    (tmp_path / "spool.db").unlink()
    async with open_spool(config) as spool:
        assert (spool.id, spool.status.last_sequence) == (identity, 10)


async def test_a_mark_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    config = SpoolConfig(path=tmp_path)
    async with open_spool(config) as spool:
        await append(spool, 10)
        identity = spool.id
    (tmp_path / FILE).write_bytes(b"\xff" * 44)
    assert HighWaterMark(tmp_path).read() is None
    async with open_spool(config) as spool:
        assert (spool.id, spool.status.quarantined_messages) == (identity, 0)


async def test_after_a_power_cut_that_may_have_cost_commits_the_id_stays_and_numbers_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its id and its session with the broker; the high-water mark, as old as the database then, proves nothing."""
    config = SpoolConfig(path=tmp_path, synchronous="normal")
    async with open_spool(config) as spool:
        identity = spool.id
        await append(spool, 10)
        before = await files_after_a_kill(spool, tmp_path)
        mark = (tmp_path / FILE).read_bytes()
        await append(spool, 7)
    restore(tmp_path, before)
    (tmp_path / FILE).write_bytes(mark)
    monkeypatch.setattr("edgerouter.spool.sqlite.high_water.boot_id", lambda: b"another start of the machine")
    async with open_spool(config) as spool:
        assert spool.id == identity
        assert spool.status.last_sequence > 17
        await append(spool, 1)
        assert (await spool.tools.verify()).problems == ()


async def test_a_kill_leaves_out_no_numbers(tmp_path: Path) -> None:
    config = SpoolConfig(path=tmp_path, synchronous="normal")
    async with open_spool(config) as spool:
        await append(spool, 10)
        before = await files_after_a_kill(spool, tmp_path)
    restore(tmp_path, before)
    async with open_spool(config) as spool:
        assert spool.status.last_sequence == 10
