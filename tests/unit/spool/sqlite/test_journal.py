"""The journal in front of the database: what is in it counts as stored, and what is damaged of it costs that alone.

Covers: edgerouter.spool.sqlite.database, edgerouter.spool.sqlite.db.values, edgerouter.spool.sqlite.journaled.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import apsw
import pytest

from edgerouter.errors import SpoolError, SpoolUnusable
from edgerouter.spool import open_spool
from edgerouter.spool.log.chunk import Header
from edgerouter.spool.sqlite.journal import FILE, SECTOR, Entry, Journal
from edgerouter.spool.sqlite.store import Store
from support.spools import Pipe, crashing, fresh, ledger, payloads, route, sequences, sqlite, take

SIZE = 64 * 1024
PLENTY = 1 << 30


def entry(number: int, payload: bytes = b"payload") -> Entry:
    header = Header(number * 10, 10, len(payload), 1, 0, b"", 0, b"", 7)
    return Entry(number, "spool", [(header, payload)], {"sink/a": b"%d" % number}, ["batch/1"])


def journal(folder: Path, **more: Any) -> Journal:
    made = Journal(folder, SIZE, sync=False, **more)
    made.begin(PLENTY)
    return made


def numbers(folder: Path) -> list[int]:
    return [found.number for found in Journal(folder, SIZE, sync=False).read()]


def append(to: Journal, each: Entry) -> None:
    encoded = to.encode(each)
    assert encoded, "there is room"
    to.append(encoded)


def test_what_is_appended_is_read_again_as_it_was(tmp_path: Path) -> None:
    written = journal(tmp_path)
    entries = [entry(n, os.urandom(n * 300)) for n in range(1, 10)]
    for each in entries:
        append(written, each)
    found = Journal(tmp_path, SIZE, sync=False).read()
    assert [(e.number, [(Header(*h), p) for h, p in e.rows], e.put, e.delete) for e in found] == [
        (e.number, list(e.rows), e.put, e.delete) for e in entries
    ]


def test_an_entry_that_has_no_room_is_not_encoded(tmp_path: Path) -> None:
    assert journal(tmp_path).encode(entry(1, bytes(SIZE))) == b""


def test_a_disk_without_room_has_no_journal(tmp_path: Path) -> None:
    written = Journal(tmp_path, SIZE, sync=False)
    written.begin(SIZE)
    assert written.encode(entry(1)) == b""
    assert not (tmp_path / FILE).exists()


def test_entries_of_an_earlier_round_are_not_read_behind_the_newest(tmp_path: Path) -> None:
    written = journal(tmp_path)
    for n in range(1, 6):
        append(written, entry(n))
    written.taken_over()
    append(written, entry(6))
    assert numbers(tmp_path) == [6]


def test_entries_of_an_earlier_run_are_not_read(tmp_path: Path) -> None:
    append(journal(tmp_path), entry(1))
    journal(tmp_path)
    assert numbers(tmp_path) == []


def test_a_torn_end_costs_the_last_entry_alone(tmp_path: Path) -> None:
    written = journal(tmp_path)
    for n in range(1, 6):
        append(written, entry(n, os.urandom(3000)))
    data = bytearray((tmp_path / FILE).read_bytes())
    end = len(data.rstrip(b"\0"))
    data[end - SECTOR : end] = bytes(SECTOR)
    (tmp_path / FILE).write_bytes(data)
    assert numbers(tmp_path) == [1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_byte_costs_at_most_one_entry(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    written = journal(tmp_path)
    for n in range(1, 11):
        append(written, entry(n, chance.randbytes(chance.choice([10, 600, 3000]))))
    data = bytearray((tmp_path / FILE).read_bytes())
    data[chance.randrange(len(data.rstrip(b"\0")))] ^= chance.randrange(1, 256)
    (tmp_path / FILE).write_bytes(data)
    assert len(numbers(tmp_path)) >= 9


def test_a_payload_that_looks_like_an_entry_is_none(tmp_path: Path) -> None:
    """A device does not know the salt, and an entry of another spool has another one."""
    other = tmp_path / "other"
    other.mkdir()
    append(journal(other), entry(99))
    forged = (other / FILE).read_bytes().rstrip(b"\0")
    written = journal(tmp_path)
    append(written, entry(1, b"".join(bytes(n) + forged for n in (0, 100, 200, 300))))
    append(written, entry(2))
    assert numbers(tmp_path) == [1, 2]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        Journal(tmp_path, SIZE, sync=False).read()
    journal(tmp_path)
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_a_full_disk_gets_back_the_part_that_is_not_used(tmp_path: Path) -> None:
    written = journal(tmp_path)
    append(written, entry(1))
    before = (tmp_path / FILE).stat().st_size
    assert written.give_room()
    assert not written.give_room()
    assert (tmp_path / FILE).stat().st_size < before
    append(written, entry(2))
    assert numbers(tmp_path) == [1, 2]


async def test_after_a_kill_the_journal_has_what_the_database_has_not(tmp_path: Path) -> None:
    async with crashing(tmp_path) as (spool, crashed):
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(1))
        reader.delivered(await take(reader, 1))
        await spool.flush()
        for n in range(30):
            await pipe.append(fresh(10, topic=f"t/{n}"))
        crashed()
    connection = apsw.Connection(str(tmp_path / "spool.db"))
    assert connection.execute("SELECT count(*) FROM chunks").get == 0
    connection.close()
    async with open_spool(sqlite(tmp_path)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        assert reader.ledger == ledger(301, delivered=1)
        assert sequences(await take(reader, 300)) == list(range(2, 302))
        assert (await spool.tools.verify()).problems == ()


async def test_a_clean_end_leaves_no_journal(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        await Pipe(spool).append(fresh(10))
        assert (tmp_path / FILE).exists()
    assert not (tmp_path / FILE).exists()


async def test_what_every_sink_has_settled_never_comes_into_the_database(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await spool.flush()
        for _ in range(50):
            await pipe.append(fresh(100, payload=lambda _: os.urandom(200)))
            reader.delivered(await take(reader, 100))
        await spool.flush()
        assert spool.status.messages == 0
        assert sum(file.stat().st_size for file in tmp_path.glob("spool.db*") if file.name != FILE) < 200_000, "1 MB went through"


async def test_a_sink_reads_from_the_journal_what_is_not_in_memory(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path, cache_bytes=0)) as spool:
        pipe = Pipe(spool)
        every, some = await pipe.attach(route("every"), route("some", "x/3"))
        for n in range(300):
            await pipe.append(fresh(20, topic=f"x/{n % 100}"))
            if n == 100:
                every.delivered(await take(every, 50))
                await spool.flush()
        assert sequences(await take(every, 5950)) == list(range(51, 6001))
        assert sequences(await take(some, 60)) == [*range(61, 81), *range(2061, 2081), *range(4061, 4081)]


@pytest.mark.parametrize("damage", ["removed", "emptied", "header"])
async def test_a_lost_journal_is_reported_and_its_numbers_are_not_used_again(tmp_path: Path, damage: str) -> None:
    async with crashing(tmp_path) as (spool, crashed):
        pipe = Pipe(spool)
        await pipe.attach(route("sink"))
        await spool.flush()
        for _ in range(30):
            await pipe.append(fresh(10))
        crashed()
    file = tmp_path / FILE
    if damage == "removed":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "emptied" else os.urandom(8192) + file.read_bytes()[8192:])
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(1))
        assert sequences(await take(reader, 1)) == [301]
        assert (await spool.tools.verify()).problems == ()
        assert reader.ledger.dropped == 300


async def test_a_commit_missing_within_the_journal_costs_its_messages_alone(tmp_path: Path) -> None:
    async with crashing(tmp_path) as (spool, crashed):
        pipe = Pipe(spool)
        (reader, _) = await pipe.attach(route("sink"), route("other", "t/0"))
        await spool.flush()
        for n in range(30):
            await pipe.append(fresh(10, topic=f"t/{n % 2}", payload=lambda _: os.urandom(100)))
            reader.delivered(await take(reader, 3))
        crashed()
    file = tmp_path / FILE
    data = bytearray(file.read_bytes())
    data[len(data.rstrip(b"\0")) // 2] ^= 1
    file.write_bytes(data)
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        reader, other = await pipe.attach(route("sink"), route("other", "t/0"))
        assert (await spool.tools.verify()).problems == ()
        got = await take(reader, reader.ledger.pending)
        assert reader.ledger.matched == 300
        assert reader.ledger.dropped in range(1, 11)
        assert reader.ledger.matched == reader.ledger.delivered + reader.ledger.dropped + len(got)
        assert len(await take(other, other.ledger.pending)) in (140, 150)
        assert spool.status.quarantined_messages == 10


async def test_a_spool_of_the_first_format_is_used_and_then_refused_by_it(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        await pipe.attach(route("sink"))
        await pipe.append(fresh(10))
    connection = apsw.Connection(str(tmp_path / "spool.db"))
    connection.pragma("user_version", 1)
    connection.close()
    async with open_spool(sqlite(tmp_path)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        assert payloads(await take(reader, 10)) == [b"%d" % n for n in range(10)]
    connection = apsw.Connection(str(tmp_path / "spool.db"))
    assert connection.pragma("user_version") == 2
    connection.close()


async def test_where_the_database_has_no_room_for_the_journal_what_is_settled_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise apsw.FullError

    async with crashing(tmp_path) as (spool, crashed):
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        for _ in range(10):
            await pipe.append(fresh(10))
        assert (await spool.tools.verify()).chunks == 10, "they are in the database"
        await pipe.append(fresh(10))
        with monkeypatch.context() as patch:
            patch.setattr(Store, "take_over", full)
            reader.delivered(await take(reader, 100))
            with pytest.raises(SpoolError, match="full"):
                await spool.flush()
            crashed()
        await spool.flush()
        assert spool.status.messages == 10
    async with open_spool(sqlite(tmp_path)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        assert reader.ledger == ledger(110, delivered=100)
        assert (await spool.tools.verify()).problems == ()
        assert spool.status.messages == 10


async def test_a_journal_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolUnusable, match="symbolic link"):
        async with open_spool(sqlite(tmp_path)):
            pass
