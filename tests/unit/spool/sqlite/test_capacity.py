"""The durable spool on a small file system that really fills, and on one that becomes read-only.

Covers also: edgerouter.spool.sqlite.health.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edgerouter.errors import SpoolUnusable
from edgerouter.spool import open_spool
from edgerouter.spool.sqlite import salvaging
from support.spools import Pipe, crashing, fresh, ledger, route, sequences, sqlite, take, take_some


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "mode=0750,size=6m", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("mounting takes root")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_disk_that_is_full_blocks_and_settling_makes_room(small_disk: Path) -> None:
    async with open_spool(sqlite(small_disk)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        total = 200

        async def feed() -> None:
            for _ in range(total):
                await pipe.append(fresh(50, payload=lambda n: os.urandom(1000)))

        feeding = asyncio.create_task(feed())
        await until(lambda: spool.status.state == "full")
        assert spool.status.reason == "the disk is full"
        assert not feeding.done()
        got: list[int] = []
        while len(got) < total * 50:
            async with asyncio.timeout(20):
                messages = await take_some(reader, 100)
            got += sequences(messages)
            reader.delivered(messages)
        await feeding
        assert got == list(range(1, total * 50 + 1))
        assert spool.status.state == "ok"
        assert reader.ledger == ledger(total * 50, total * 50)
        assert spool.drops == {}


async def test_a_disk_that_others_fill_is_waited_for(small_disk: Path) -> None:
    hog = small_disk / "hog"
    async with open_spool(sqlite(small_disk, max_bytes="1MiB")) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(10))
        with suppress(OSError):
            hog.write_bytes(bytes(8_000_000))
        feeding = asyncio.create_task(pipe.append(fresh(600, payload=lambda n: os.urandom(1000))))
        await until(lambda: spool.status.state == "full")
        reader.delivered(await take(reader, 10))
        hog.unlink()
        async with asyncio.timeout(20):
            await feeding
        assert sequences(await take(reader, 600)) == list(range(11, 611))
        assert spool.status.state == "ok"


async def test_a_crash_on_a_full_disk_loses_nothing(small_disk: Path) -> None:
    async with open_spool(sqlite(small_disk)) as spool:
        pipe = Pipe(spool)
        await pipe.attach(route("sink"))

        async def feed() -> None:
            while True:
                await pipe.append(fresh(50, payload=lambda n: os.urandom(1000)))

        feeding = asyncio.create_task(feed())
        await until(lambda: spool.status.state == "full")
        feeding.cancel()
        await asyncio.wait([feeding])
        stored = len(pipe.acknowledged) * 50
    async with open_spool(sqlite(small_disk)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        assert sequences(await take(reader, stored)) == list(range(1, stored + 1))
        assert reader.ledger == ledger(stored)


async def test_a_read_only_file_system_is_waited_for(small_disk: Path) -> None:
    async with open_spool(sqlite(small_disk)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(10))
        # the open log keeps a file system from becoming read-only, so make SQLite see it as such
        from edgerouter.spool.sqlite.store import Store

        write = Store.write
        with pytest.MonkeyPatch.context() as patch:
            import apsw

            def refuse(self: Store, transaction: object) -> object:
                raise apsw.ReadOnlyError("attempt to write a readonly database")

            patch.setattr(Store, "write", refuse)
            feeding = asyncio.create_task(pipe.append(fresh(10)))
            await until(lambda: spool.status.state == "read_only")
        assert Store.write is write
        async with asyncio.timeout(20):
            await feeding
        assert len(await take(reader, 20)) == 20


async def test_a_read_only_folder_is_one_clear_line_at_the_start(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(SpoolUnusable, match="Read-only file system"):
        async with open_spool(sqlite(small_disk)):
            pass


async def test_a_salvage_on_a_full_disk_waits_for_room_and_loses_nothing(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvaging, "RETRY", 0.05)
    total = 1500
    async with open_spool(sqlite(small_disk)) as spool:
        pipe = Pipe(spool)
        await pipe.attach(route("sink"))
        for _ in range(total // 50):
            await pipe.append(fresh(50, payload=lambda _: os.urandom(1000)))
    with (small_disk / "spool.db").open("r+b") as file:
        file.seek(4096)  # the root of the tree of chunks
        file.write(os.urandom(4096))
    hog = small_disk / "hog"
    with suppress(OSError):
        hog.write_bytes(bytes(8_000_000))
    async with open_spool(sqlite(small_disk)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        await until(lambda: spool.status.state == "full")
        assert replace(reader.ledger, uncounted=0) == ledger(total)
        hog.unlink()
        async with asyncio.timeout(20):
            assert sequences(await take(reader, total)) == list(range(1, total + 1))
        await until(lambda: spool.status.state == "ok")


def fill_up(folder: Path) -> None:
    """Leave no byte."""
    with suppress(OSError), (folder / "hog").open("wb", buffering=0) as hog:
        while True:
            hog.write(bytes(4096))


@pytest.mark.parametrize("reserve", [True, False], ids=["with its reserve", "that is given up already"])
async def test_after_a_crash_on_a_disk_without_a_free_byte_the_router_starts(small_disk: Path, reserve: bool) -> None:
    """The state says so before the first message comes; what waits is delivered and makes room."""
    async with crashing(small_disk) as (spool, crashed):
        pipe = Pipe(spool)
        await pipe.attach(route("sink"))
        for _ in range(20):
            await pipe.append(fresh(50, payload=lambda _: os.urandom(1000)))
        crashed()
    if not reserve:
        (small_disk / "spool.reserve").unlink(missing_ok=True)
    fill_up(small_disk)
    async with open_spool(sqlite(small_disk)) as spool:
        # a reserve that the journal needed has left some room
        assert reserve or spool.status.state == "full"
        (reader,) = await Pipe(spool).attach(route("sink"))
        messages = await take(reader, 1000)
        assert sequences(messages) == list(range(1, 1001))
        (small_disk / "hog").unlink()
        reader.delivered(messages)
        await until(lambda: spool.status.state == "ok")


async def test_a_disk_that_has_room_again_is_not_called_full(small_disk: Path) -> None:
    """Not only the next message finds that out."""
    async with open_spool(sqlite(small_disk)):
        pass
    fill_up(small_disk)
    async with open_spool(sqlite(small_disk)) as spool:
        assert spool.status.state == "full"
        (small_disk / "hog").unlink()
        await until(lambda: spool.status.state == "ok")
