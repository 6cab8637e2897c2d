"""Every number of a ledger is counted by itself: exact at every moment, never taken back, and wrong for all to see.

Covers also: edgerouter.spool.log.ledger_record, edgerouter.spool.log.uncounted, edgerouter.spool.sqlite.counting.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from edgerouter.config.model import SpoolConfig
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Spool
from edgerouter.spool.log.reader import LogReader
from support.spools import Pipe, crashing, fresh, ledger, route, sqlite, take


@pytest.fixture(params=["sqlite", "memory"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> SpoolConfig:
    return sqlite(tmp_path, type=request.param, cache_bytes=1000)


async def test_what_waits_is_counted_before_a_sink_reads_anything(config: SpoolConfig) -> None:
    """Nothing is read here: status, `/flowz` and the drain at a stop rely on the number."""
    async with open_spool(config) as spool:
        pipe = Pipe(spool)
        (holder,) = await pipe.attach(route("holder", "a", "b"))
        for topic in ("a", "b", "c"):
            await pipe.append(fresh(1000, topic=topic))
        (oldest,) = await pipe.attach(route("oldest", "b", start="oldest"))
        assert oldest.ledger == ledger(matched=1000)
        holder.delivered(await take(holder, 500))
        (holder,) = await pipe.attach(route("holder", "a"))
        assert holder.ledger == ledger(matched=2000, delivered=500, filtered=1000)
        (holder,) = await pipe.attach(route("holder", "#"))
        await pipe.append(fresh(10, topic="c"))
        assert (holder.ledger.pending, holder.ledger.uncounted) == (len(await take(holder, holder.ledger.pending)), 0)
        assert holder.take(1000) == []
        assert (await spool.tools.verify()).problems == ()


async def test_counting_goes_on_after_a_restart_and_through_several_changes_of_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count in progress is reported, and comes out right whatever happens to it."""
    from edgerouter.spool.sqlite import counting

    monkeypatch.setattr(counting, "PATIENCE", 0)
    monkeypatch.setattr(counting, "STEP_MESSAGES", 1)
    config = sqlite(tmp_path, cache_bytes=1000)
    async with open_spool(config) as spool:
        pipe = Pipe(spool)
        await pipe.attach(route("sink", "a", "b"))
        for n in range(100):
            await pipe.append(fresh(100, topic="abc"[n % 3]))
    before = 6700
    for filters in (("b", "c"), ("a",), ("b",), ("a", "c")):
        async with open_spool(config) as spool:
            (reader,) = await Pipe(spool).attach(route("sink", *filters))
            now = reader.ledger
            assert now.uncounted > 0, "it is not done yet, and says so"
            assert now.matched == now.delivered + now.filtered + now.pending
            assert now.matched >= before, "a counter does not fall"
            before = now.matched
            if filters == ("a",):
                reader.delivered(await take(reader, 3000))
    async with open_spool(config) as spool:
        (reader,) = await Pipe(spool).attach(route("sink", "a", "c"))
        assert (await spool.tools.verify()).problems == ()
        assert reader.ledger.pending >= 400
        assert reader.ledger.uncounted == 0
        await take(reader, reader.ledger.pending)
        assert reader.take(1000) == []


async def test_matched_never_falls(config: SpoolConfig) -> None:
    """Not with other filters, a replay, purged or replayed dead letters, nor when a sink is forgotten and comes back."""
    async with open_spool(config) as spool:
        pipe = Pipe(spool)
        seen = 0
        for filters in (("#",), ("a",), ("b",), ("#",), ("none",)):
            await pipe.append(fresh(50, topic="a"))
            (reader,) = await pipe.attach(route("sink", *filters))
            await pipe.append(fresh(50, topic="b"))
            reader.delivered(reader.take(20))
            assert reader.ledger.matched >= seen
            seen = reader.ledger.matched
        await spool.detach("sink")
        await spool.forget("sink")
        (reader,) = await pipe.attach(route("sink"))
        assert reader.ledger.matched >= seen
        assert (await spool.tools.verify()).problems == ()


async def test_a_number_that_is_wrong_shows_in_status_log_and_verify(
    config: SpoolConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """No entry balances the books: a message that is counted twice, or not at all, is an error that stays."""
    async with open_spool(config) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(10))
        assert isinstance(reader, LogReader)
        books = reader.sink_ledger
        books.delivered += 1
        reader.delivered(await take(reader, 10))
        assert reader.ledger == ledger_of(matched=10, delivered=11)
        assert "does not add up" in spool.faults["sink"]
        assert capsys.readouterr().out.count("does not add up") == 1
        assert any("does not add up" in problem for problem in (await spool.tools.verify()).problems)


async def test_a_message_that_is_pending_and_not_stored_shows(config: SpoolConfig) -> None:
    async with open_spool(config) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(10))
        assert isinstance(reader, LogReader)
        books = reader.sink_ledger
        books.matched += 1
        books.pending += 1
        assert any("11 messages pending by the ledger, 10 stored" in problem for problem in (await spool.tools.verify()).problems)
        reader.delivered(await take(reader, 10))
        assert "none is stored" in spool.faults["sink"]


def ledger_of(matched: int, delivered: int) -> object:
    """Numbers that do not add up."""
    from edgerouter.spool.status import Ledger

    return Ledger(matched, delivered)


async def backlog(path: Path, **more: Any) -> None:
    """A killed router's folder: a backlog for two sinks that were down."""
    async with crashing(path, **more) as (spool, crashed):
        await fill(spool)
        crashed()


async def fill(spool: Spool) -> None:
    pipe = Pipe(spool)
    await pipe.attach(route("every"), route("some", "a/#"))
    for n in range(60):
        await pipe.append(fresh(50, topic=f"{'ab'[n % 2]}/{n}", payload=lambda _: os.urandom(100)))


async def lost_and_dropped(path: Path) -> dict[str, tuple[int, int]]:
    """For each sink how many messages are gone, and how many count as dropped."""
    found = {}
    async with open_spool(sqlite(path)) as spool:
        readers = await Pipe(spool).attach(route("every"), route("some", "a/#"))
        for name, reader, stored in zip(("every", "some"), readers, (3000, 1500), strict=True):
            delivered = 0
            async with asyncio.timeout(20):
                while reader.ledger.waiting:
                    messages = reader.take(500)
                    delivered += len(messages)
                    reader.delivered(messages)
                    await asyncio.sleep(0.001)
            assert reader.ledger == ledger(stored, delivered, dropped=stored - delivered), (
                "what is lost was matched, and is dropped"
            )
            found[name] = (stored - delivered, reader.ledger.dropped)
        assert (await spool.tools.verify()).problems == ()
        assert spool.faults == {}
    return found


@pytest.mark.usefixtures("without_journal")
@pytest.mark.parametrize("place", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
async def test_after_a_flipped_byte_in_the_log_what_is_dropped_is_what_is_gone(tmp_path: Path, place: float) -> None:
    await backlog(tmp_path)
    log = tmp_path / "spool.db-wal"
    with log.open("r+b") as file:
        file.seek(int(log.stat().st_size * place))
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))
    for lost, dropped in (await lost_and_dropped(tmp_path)).values():
        assert lost == dropped


@pytest.mark.usefixtures("without_journal")
async def test_after_a_cut_log_what_is_dropped_is_what_is_gone(tmp_path: Path) -> None:
    """The last commit is gone, and only the number of its messages is known: a sink that wants all of them has lost them."""
    await backlog(tmp_path)
    log = tmp_path / "spool.db-wal"
    os.truncate(log, log.stat().st_size - 1)
    async with open_spool(sqlite(tmp_path)) as spool:
        every, some = await Pipe(spool).attach(route("every"), route("some", "a/#"))
        assert (await spool.tools.verify()).problems == ()
        assert every.ledger == ledger(3000, dropped=50)
        assert spool.drops == {("every", "", "damaged"): 50}
        assert some.ledger == ledger(1500), "the last commit had nothing for it"
        assert spool.status.quarantined_messages == 50


@pytest.mark.parametrize("page", [3, 20, 70, 110])
async def test_after_a_destroyed_page_what_is_dropped_is_what_is_gone(tmp_path: Path, page: int) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        await fill(spool)
    with (tmp_path / "spool.db").open("r+b") as file:
        file.seek(page * 4096)
        file.write(os.urandom(4096))
    for lost, dropped in (await lost_and_dropped(tmp_path)).values():
        assert lost == dropped
