"""A damaged spool starts, keeps what is readable, and says what is lost.

Covers also: edgerouter.spool.sqlite.db.compaction, edgerouter.spool.sqlite.db.errors, edgerouter.spool.sqlite.recovery.pages,
edgerouter.spool.sqlite.salvaging.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from pathlib import Path
from typing import Any

import apsw
import pytest

from edgerouter.spool import open_spool
from edgerouter.spool.operator import DeadLetterFilter
from edgerouter.spool.sqlite.db import compaction, schema
from support.damage import COUNT, assert_goes_on, drain, fill, flip, identity_of, payload_offset
from support.spools import Pipe, files, files_after_a_kill, fresh, ledger, restore, route, sequences, sqlite, take


async def test_a_flipped_byte_costs_only_its_chunk(tmp_path: Path) -> None:
    await fill(tmp_path)
    flip(tmp_path / "spool.db", payload_offset(tmp_path / "spool.db", 101))
    async with open_spool(sqlite(tmp_path)) as spool:
        found = await spool.tools.verify()
        assert found.damaged_chunks == 1
        assert "chunk 101: the checksum is wrong, 50 messages cannot be read" in found.problems
        pipe = Pipe(spool)
        every, some = await pipe.attach(route("every"), route("some", "a/#"))
        got = await drain(every, spool)
        assert got == [*range(11, 101), *range(151, COUNT + 1)]
        assert every.ledger == ledger(COUNT, COUNT - 60, 10, 50)
        assert await drain(some, spool) == [s for s in range(1, COUNT + 1) if (s - 1) // 50 % 2 == 0 and not 101 <= s <= 150]
        assert some.ledger == ledger(COUNT // 2, COUNT // 2 - 50, 0, 50)
        assert (spool.status.quarantined_chunks, spool.status.quarantined_messages) == (1, 50)
        assert spool.drops["every", "", "damaged"] == 50
    async with open_spool(sqlite(tmp_path)) as spool:
        assert (spool.status.quarantined_chunks, spool.status.quarantined_messages) == (1, 50)
        assert spool.status.messages == 0


@pytest.mark.parametrize("seed", range(12))
async def test_flipped_bytes_anywhere_cost_little(tmp_path: Path, seed: int) -> None:
    await fill(tmp_path)
    rng = random.Random(seed)
    file = tmp_path / "spool.db"
    for _ in range(3):
        flip(file, rng.randrange(4096, file.stat().st_size))
    await assert_goes_on(tmp_path, 0)


@pytest.mark.parametrize("page", ["state", "chunks", "interior", "letters"])
async def test_a_page_of_garbage_is_salvaged_around(tmp_path: Path, page: str) -> None:
    await fill(tmp_path, chunk=5)
    file = tmp_path / "spool.db"
    connection = apsw.Connection(str(file))
    roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_schema"))
    identity = connection.execute("SELECT value FROM state WHERE name = 'spool'").get
    connection.close()
    assert identity
    number = {"state": roots["state"], "interior": roots["chunks"], "letters": roots["letters"]}.get(page)
    if number is None:
        # compression leaves the topic of most chunks as it is
        found = re.compile(rb"a/[1-9][02468]0").search(file.read_bytes(), 4096 * 12)
        assert found is not None
        number = found.start() // 4096 + 1
    with file.open("r+b") as opened:
        opened.seek((number - 1) * 4096)
        opened.write(random.Random(1).randbytes(4096))
    await assert_goes_on(tmp_path, COUNT - (1010 if page == "chunks" else 10))
    if page != "chunks":
        assert any(".salvaged-" in name for name in files(tmp_path))


def pages(file: Path, kind: int) -> list[int]:
    """Numbers of the pages of a type: 5 for inner pages of tables, 13 for leaves."""
    content = file.read_bytes()
    return [n + 1 for n in range(1, len(content) // 4096) if content[n * 4096] == kind]


def destroy(file: Path, number: int) -> None:
    """Fill a page with garbage."""
    with file.open("r+b") as opened:
        opened.seek((number - 1) * 4096)
        opened.write(random.Random(number).randbytes(4096))


@pytest.mark.parametrize("size", [3500, 9000], ids=["rows on leaves", "rows with overflow pages"])
async def test_destroyed_inner_pages_cost_nothing_and_others_what_stood_on_them(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All inner pages of the tree of chunks, its root among them, and one page with messages."""
    monkeypatch.setattr(compaction, "AFTER", 1 << 30)
    count = 1200
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (every,) = await pipe.attach(route("every"))
        for _ in range(count):
            await pipe.append(fresh(1, payload=lambda _: os.urandom(size)))
        # what is delivered and deleted stands on free pages and does not come back
        every.delivered(await take(every, 100))
    file = tmp_path / "spool.db"
    inner = pages(file, 5)
    assert inner
    for number in [*inner, payload_page(file, 700)]:
        destroy(file, number)
    async with open_spool(sqlite(tmp_path)) as spool:
        every, oldest = await Pipe(spool).attach(route("every"), route("oldest", start="oldest"))
        assert await drain(every, spool) == [s for s in range(101, count + 1) if s != 700]
        assert every.ledger == ledger(count, count - 1, 0, 1)
        assert await drain(oldest, spool) == [s for s in range(101, count + 1) if s != 700]
        assert (await spool.tools.verify()).problems == ()


def payload_page(file: Path, first: int) -> int:
    """The page on which a payload ends."""
    content = file.read_bytes()
    connection = apsw.Connection(str(file))
    payload = connection.execute("SELECT payload FROM chunks WHERE first = ?", (first,)).get
    connection.close()
    return content.index(payload[-300:]) // 4096 + 1


@pytest.mark.parametrize("moved", ["log", "both", "both, and another begun"])
async def test_a_kill_while_a_damaged_database_is_moved_aside_loses_nothing(tmp_path: Path, moved: str) -> None:
    await fill(tmp_path)
    destroy(tmp_path / "spool.db", 1)
    (tmp_path / "spool.db-wal").write_bytes(b"")
    (tmp_path / "spool.db-wal").rename(tmp_path / "spool.db.damaged-20261121-000000-wal")
    if moved != "log":
        (tmp_path / "spool.db").rename(tmp_path / "spool.db.damaged-20261121-000000")
    if moved == "both, and another begun":
        schema.connect(tmp_path / "spool.db", synchronous="normal", wal_pages=100).close()
    async with open_spool(sqlite(tmp_path)) as spool:
        (every,) = await Pipe(spool).attach(route("every"))
        assert await drain(every, spool) == list(range(11, COUNT + 1))
        assert every.ledger == ledger(COUNT, COUNT - 10, 10)


@pytest.mark.parametrize("kind", ["zeros", "garbage"])
async def test_a_destroyed_first_page_costs_nothing(tmp_path: Path, kind: str) -> None:
    await fill(tmp_path)
    identity = await identity_of(tmp_path)
    with (tmp_path / "spool.db").open("r+b") as opened:
        if kind == "zeros":
            opened.write(bytes(4096))
        else:
            opened.seek(100)
            opened.write(random.Random(1).randbytes(3900))
    async with open_spool(sqlite(tmp_path)) as spool:
        assert spool.id == identity
        (every,) = await Pipe(spool).attach(route("every"))
        assert await drain(every, spool) == list(range(11, COUNT + 1))
        assert every.ledger == ledger(COUNT, COUNT - 10, 10)
        assert await spool.tools.count_dead_letters(DeadLetterFilter()) == 10
        async with asyncio.timeout(10):
            while spool.status.messages != COUNT // 2:  # what the other sink still wants
                await spool.flush()
                await asyncio.sleep(0.01)
        assert (await spool.tools.verify()).messages == COUNT // 2


async def test_the_end_of_a_salvage_forgets_nothing_that_was_just_settled(tmp_path: Path) -> None:
    """Another sink has it in its position, since it is behind, and does not want it."""
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        every, _ = await pipe.attach(route("every"), route("some", "a/#"))
        for topic in ("a/1", "b/1"):
            await pipe.append(fresh(50, topic=topic))
        every.delivered(await take(every, 100))
        inside: Any = spool
        inside._committer.trimming.examine_all(101)  # as a salvage does that ends now
        async with asyncio.timeout(10):
            while spool.status.messages != 50:
                await spool.flush()
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
async def test_a_torn_tail_is_cut_off(tmp_path: Path, part: float) -> None:
    await fill(tmp_path)
    file = tmp_path / "spool.db"
    os.truncate(file, int(file.stat().st_size * part))
    await assert_goes_on(tmp_path, 0)


async def test_a_salvage_that_is_interrupted_goes_on_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgerouter.spool.sqlite.recovery import salvage

    monkeypatch.setattr(salvage, "STEP_ROWS", 1)
    await fill(tmp_path)
    with (tmp_path / "spool.db").open("r+b") as opened:
        opened.write(bytes(4096))
    saved: dict[str, bytes] = {}
    async with open_spool(sqlite(tmp_path)) as spool:
        inside: Any = spool
        (every,) = await Pipe(spool).attach(route("every"))
        messages = await take(every, 100)
        every.delivered(messages)
        assert inside._salvaging.active
        await spool.flush()
        saved = await files_after_a_kill(spool, tmp_path)
    restore(tmp_path, saved)
    async with open_spool(sqlite(tmp_path)) as spool:
        (every,) = await Pipe(spool).attach(route("every"))
        assert await drain(every, spool) == list(range(111, COUNT + 1))
        assert every.ledger == ledger(COUNT, COUNT - 10, 10)


async def test_new_messages_come_in_while_old_ones_are_salvaged(tmp_path: Path) -> None:
    await fill(tmp_path)
    with (tmp_path / "spool.db").open("r+b") as opened:
        opened.write(bytes(4096))
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        every, live = await pipe.attach(route("every"), route("live"))
        await pipe.append(fresh(10))
        assert sequences(await take(live, 10)) == list(range(COUNT + 1, COUNT + 11))
        assert await drain(every, spool) == list(range(11, COUNT + 11))


async def test_damage_found_at_work_is_mended_at_work(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path, cache_bytes=0)) as spool:
        inside: Any = spool
        pipe = Pipe(spool)
        every, _ = await pipe.attach(route("every"), route("some", "a/#"))
        for _ in range(100):
            await pipe.append(fresh(20))
        taken = await take(every, 1000)
        every.delivered(taken[:500])
        await spool.flush()
        inside._store.connection.pragma("cache_size", 0)
        inside._store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file = tmp_path / "spool.db"
        with file.open("r+b") as opened:
            opened.seek(4096)
            opened.write(random.Random(1).randbytes(4096))
        inside._store.connection.execute("PRAGMA shrink_memory")
        for _ in range(10):
            async with asyncio.timeout(20):
                await pipe.append(fresh(20))
        every.give_back(taken[500:])
        got = await drain(every, spool)
        assert got[-200:] == list(range(2001, 2201))
        # the damage may be found only by what settles the last of them
        async with asyncio.timeout(20):
            while spool.status.state != "ok":
                await asyncio.sleep(0.01)
    async with open_spool(sqlite(tmp_path)) as spool:
        assert spool.status.last_sequence == 2200


async def test_an_older_format_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step to an imagined third format shows that the way there works."""
    await fill(tmp_path)

    def step(connection: apsw.Connection) -> None:
        connection.execute("ALTER TABLE state ADD COLUMN note TEXT")

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step))
    connection = schema.connect(tmp_path / "spool.db", synchronous="normal", wal_pages=100)
    assert connection.pragma("user_version") == 3
    assert connection.execute("SELECT count(*) FROM state WHERE note IS NULL").get > 0
    connection.close()


@pytest.mark.parametrize("pragma", ["user_version = 0", "user_version = -5", "application_id = 0", "application_id = 7"])
async def test_a_damaged_number_in_the_head_of_the_database_is_damage_like_any_other(tmp_path: Path, pragma: str) -> None:
    await fill(tmp_path)
    connection = apsw.Connection(str(tmp_path / "spool.db"))
    connection.execute(f"PRAGMA {pragma}")
    connection.close()
    await assert_goes_on(tmp_path, COUNT - 10)
