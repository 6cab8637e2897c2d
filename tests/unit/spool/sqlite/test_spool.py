"""The durable spool in an undisturbed life: append, read, settle, restart, trim.

Covers also: edgerouter.spool.contract, edgerouter.message, edgerouter.spool.log.chunk, edgerouter.spool.log.cursor,
edgerouter.spool.log.grouping, edgerouter.spool.log.in_flight, edgerouter.spool.log.ledgers, edgerouter.spool.log.reader,
edgerouter.spool.log.storage, edgerouter.spool.sqlite.committer, edgerouter.spool.sqlite.db.rows,
edgerouter.spool.sqlite.db.schema, edgerouter.spool.sqlite.db.transaction,
edgerouter.spool.sqlite.restoring, edgerouter.spool.sqlite.store, edgerouter.spool.sqlite.thread,
edgerouter.spool.sqlite.write_set.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edgerouter.errors import SpoolUnusable
from edgerouter.spool import open_spool
from support.spools import Pipe, fresh, ledger, payloads, route, sequences, sqlite, take, take_some


async def test_what_is_appended_is_read_in_order_with_unique_ids(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))

        await pipe.append(fresh(3))
        await pipe.append(fresh(2500))
        messages = await take(reader, 2503)

        assert sequences(messages) == list(range(1, 2504))
        assert payloads(messages) == payloads(fresh(3) + fresh(2500))
        assert messages[0].id == f"{spool.id}-1"
        assert reader.take(10) == []
        assert reader.ledger == ledger(matched=2503)
        assert len(pipe.acknowledged) == 2


async def test_a_message_of_each_kind_comes_back_equal(tmp_path: Path) -> None:
    from edgerouter.message import Message, Properties

    properties = Properties((("k", "v"), ("k", "w")), "text/plain", "r/t", b"\0\1", 60, True)
    sent = [
        Message("t", b"", 1_000),
        Message("a/ü/✓", bytes(range(256)) * 10, 2**62, 2, True, properties),
        Message("big", b"x" * 3_000_000, -5, 1),
    ]
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        await pipe.attach(route("sink"))
        await pipe.append(sent)
    async with open_spool(sqlite(tmp_path)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        back = await take(reader, 3)

    for before, after in zip(sent, back, strict=True):
        assert (before.topic, before.payload, before.received_at, before.qos, before.retained, before.properties) == (
            after.topic,
            after.payload,
            after.received_at,
            after.qos,
            after.retained,
            after.properties,
        )


async def test_numbers_go_on_without_gaps_after_everything_was_trimmed(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(5))
        reader.delivered(await take(reader, 5))
        await spool.flush()
        assert spool.status.messages == 0
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(1))
        assert sequences(await take(reader, 1)) == [6]


async def test_changed_filters_recount_what_is_pending(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink", "a", "b"))
        for topic in ("a", "b", "c"):
            await pipe.append(fresh(10, topic=topic))
        reader.delivered((await take(reader, 10))[:4])
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink", "a", "c"))
        assert reader.ledger == ledger(matched=20, delivered=4, filtered=10), "those of b are not wanted any more"
        await pipe.append(fresh(3, topic="c"))
        assert sequences(await take(reader, 9)) == [*range(5, 11), *range(31, 34)]
        assert reader.ledger == ledger(matched=23, delivered=4, filtered=10)
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink", "c", "a"))
        assert sequences(await take(reader, 9)) == [*range(5, 11), *range(31, 34)]
        assert reader.ledger == ledger(matched=23, delivered=4, filtered=10), "counted once"


async def test_a_detached_sink_keeps_what_it_has_and_wants_nothing_new(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        await pipe.attach(route("sink"))
        await pipe.append(fresh(3))
        await spool.detach("sink")
        await pipe.append(fresh(3))
        assert spool.status.orphans == ("sink",)
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool, route("sink"))
        await pipe.append(fresh(3))
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(1))
        assert sequences(await take(reader, 4)) == [1, 2, 3, 10]
        assert reader.ledger == ledger(matched=4)
        await spool.detach("sink")
        await spool.forget("sink")
        await pipe.append([])
        await spool.flush()
        assert spool.status.orphans == ()
        assert spool.status.messages == 0


@pytest.mark.parametrize("over_a_restart", [False, True], ids=["while running", "over a restart"])
async def test_what_came_in_while_a_sink_was_away_can_be_replayed_to_it(tmp_path: Path, over_a_restart: bool) -> None:
    """A replay counts what the sink wants and delivers as much: nothing of it is called a loss."""
    config = sqlite(tmp_path, retain={"age": "1h", "bytes": "10MiB"})
    async with open_spool(config) as spool:
        pipe = Pipe(spool)
        (reader, _) = await pipe.attach(route("sink"), route("other"))
        await pipe.append(fresh(3))
        reader.delivered(await take(reader, 3))
        await spool.detach("sink")
        del pipe.routes["sink"]
        await pipe.append(fresh(3))
        if not over_a_restart:
            (reader,) = await pipe.attach(route("sink"))
            assert await spool.tools.replay("sink") == 6
            reader.delivered(await take(reader, 6))
            await spool.flush()
            assert reader.ledger == ledger(matched=9, delivered=9)
    if over_a_restart:
        async with open_spool(config) as spool:
            pipe = Pipe(spool)
            (reader, _) = await pipe.attach(route("sink"), route("other"))
            assert await spool.tools.replay("sink") == 6
            reader.delivered(await take(reader, 6))
            await spool.flush()
            assert reader.ledger == ledger(matched=9, delivered=9)
            assert not spool.drops


async def test_a_backlog_larger_than_the_cache_is_read_from_the_disk(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path, cache_bytes=10_000)) as spool:
        pipe = Pipe(spool)
        every, some = await pipe.attach(route("every"), route("some", "x/3"))
        for n in range(300):
            await pipe.append(fresh(20, topic=f"x/{n % 100}"))
        assert sequences(await take(every, 6000)) == list(range(1, 6001))
        assert sequences(await take(some, 60)) == [*range(61, 81), *range(2061, 2081), *range(4061, 4081)]


async def test_concurrent_appends_are_committed_together_and_acknowledged_in_order(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        groups = [fresh(3, topic=f"t/{n}") for n in range(100)]

        await asyncio.gather(*(pipe.append(group) for group in groups))

        assert pipe.acknowledged == groups
        assert [m.topic for m in await take(reader, 300)] == [f"t/{n}" for n in range(100) for _ in range(3)]
        assert spool.status.commits < 10


async def test_a_second_router_is_refused_with_the_process_of_the_first(tmp_path: Path) -> None:
    import os

    async with open_spool(sqlite(tmp_path)):
        with pytest.raises(SpoolUnusable, match=f"in use by another router, process {os.getpid()}"):
            async with open_spool(sqlite(tmp_path)):
                pass
    async with open_spool(sqlite(tmp_path)):
        pass


@pytest.mark.parametrize("content", [b"hello, I am a text file\n" * 300, b"x"])
async def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "spool.db").write_bytes(content)
    with pytest.raises(SpoolUnusable, match="not a spool"):
        async with open_spool(sqlite(tmp_path)):
            pass
    assert (tmp_path / "spool.db").read_bytes() == content


async def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    import apsw

    with apsw.Connection(str(tmp_path / "spool.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(SpoolUnusable, match="another program"):
        async with open_spool(sqlite(tmp_path)):
            pass


async def test_a_newer_format_is_refused_with_both_numbers(tmp_path: Path) -> None:
    import apsw

    async with open_spool(sqlite(tmp_path)):
        pass
    connection = apsw.Connection(str(tmp_path / "spool.db"))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(SpoolUnusable, match="format 99, this one knows 2"):
        async with open_spool(sqlite(tmp_path)):
            pass


@pytest.mark.parametrize("kind", ["file", "below a file"])
async def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "f" if kind == "file" else tmp_path / "f" / "spool"
    config = sqlite(path)
    (tmp_path / "f").write_text("")
    with pytest.raises(SpoolUnusable) as caught:
        async with open_spool(config):
            pass
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


async def test_live_first_serves_new_messages_before_the_backlog(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        await pipe.attach(route("sink"))
        for _ in range(10):
            await pipe.append(fresh(1000))
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink", drain="live_first", backlog_share=0.25))
        await pipe.append(fresh(400))
        taken: list[int] = []
        batches: list[Any] = []
        while len(taken) < 10_400:
            batch = await take_some(reader, 100)
            batches.append("live" if batch[0].sequence > 10_000 else "backlog")
            taken += sequences(batch)
            await asyncio.sleep(0.001) if len(batches) < 3 else None
        assert batches.index("live") <= 1
        assert sorted(taken) == list(range(1, 10_401))
        assert [s for s in taken if s > 10_000] == list(range(10_001, 10_401))
        assert [s for s in taken if s <= 10_000] == list(range(1, 10_001))


async def test_small_chunks_that_wait_are_packed_into_large_ones(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        pipe = Pipe(spool)
        every, some = await pipe.attach(route("every"), route("some", "a/1"))
        for n in range(1000):
            await pipe.append(fresh(1, topic=f"a/{n % 3}", payload=lambda _: b'{"sensor": "temperature", "value": 21.5}' * 5))
        every.delivered(await take(every, 500))
        await spool.flush()
        assert spool.status.bytes < 120 * 1000
    async with open_spool(sqlite(tmp_path)) as spool:
        every, some = await Pipe(spool).attach(route("every"), route("some", "a/1"))
        assert sequences(await take(every, 500)) == list(range(501, 1001))
        assert sequences(await take(some, 333)) == list(range(2, 1000, 3))
        assert (every.ledger, some.ledger) == (ledger(1000, 500), ledger(333))
        assert (await spool.tools.verify()).problems == ()
