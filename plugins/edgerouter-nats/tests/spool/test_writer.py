"""A router is killed in the middle of storing, and started again: what its sources send again is stored once, under one id.

The killed one is a spool that stays open and gets no further. For the stream that is the same, and it is killed at an exact place.

Covers also: edgerouter_nats.spool.earlier, edgerouter_nats.spool.routers, tests/support/nats/holding_proxy.py.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from edgerouter import Unavailable
from edgerouter_nats.spool.names import Names
from support.nats.cluster import NatsServer
from support.nats.deliveries import deliver, deliver_again, noise, once, refused, sent, stored
from support.nats.holding_proxy import HoldingProxy
from support.nats.spools import opened
from support.pipeline import until
from support.spools import Pipe, fresh, ledger, route, take

_names: Iterator[str] = (f"KILLED-{number}" for number in range(1000))


@pytest.fixture
def stream() -> str:
    """A name that no other test uses."""
    return next(_names)


@pytest.fixture
async def proxy(nats: NatsServer) -> AsyncIterator[HoldingProxy]:
    """A proxy in front of the shared server."""
    async with HoldingProxy(nats.port).running() as proxy:
        yield proxy


async def test_a_chunk_that_arrives_after_the_restart_of_its_router_is_refused(
    nats: NatsServer, proxy: HoldingProxy, stream: str
) -> None:
    async with opened([proxy.url], stream, "same") as killed:
        await deliver(killed, 1)
        proxy.hold(Names(stream).subject("same"))
        waiting = asyncio.create_task(deliver(killed, 2))
        await until(lambda: proxy.held == 1)
        async with opened([nats.url], stream, "same") as spool:
            await proxy.release()
            await refused(killed)
            await deliver_again(spool, 1, 2)
            assert await stored(spool, stream) == once(1, 2)
            waiting.cancel()


async def test_a_chunk_that_arrives_late_for_an_emptied_subject_is_refused_too(
    nats: NatsServer, proxy: HoldingProxy, stream: str
) -> None:
    """Trimming has taken everything of the router out of the stream, before its last chunk and after its restart."""
    async with opened([proxy.url], stream, "same") as killed:
        proxy.hold(Names(stream).subject("same"), after=1)
        waiting = asyncio.create_task(deliver(killed, 1))
        await until(lambda: proxy.held == 1)
        async with opened([nats.url], stream, "same") as spool:
            api = spool.engine.api
            await api.purge(stream, before=(await api.state(stream)).last + 1)
            await proxy.release()
            await refused(killed)
            await deliver_again(spool, 1)
            assert await stored(spool, stream) == once(1)
            waiting.cancel()


async def test_a_chunk_that_is_seen_in_the_stream_before_its_answer_keeps_its_receipt(
    nats: NatsServer, proxy: HoldingProxy, stream: str
) -> None:
    """The router of the same stream that reads on, and says what it needs, has not heard yet that the chunk is its own."""
    async with opened([proxy.url], stream, "same") as killed, opened([nats.url], stream, "other") as other:
        await deliver(killed, 1)
        proxy.lose_answers(Names(stream).subject("same"))
        waiting = asyncio.create_task(deliver(killed, 2))
        await until(lambda: proxy.lost > 0)
        await Pipe(other).append(fresh(1))
        end = other.engine.tail.end
        await until(lambda: killed.engine.tail.end >= end)
        for each in killed.unacknowledged("sender"):
            assert each.confirmation is not None
            each.confirmation.confirm()
        await killed.engine.announcement.write()
        async with opened([nats.url], stream, "same") as spool:
            assert [each.receipt for each in spool.unacknowledged("sender")] == [b"2"]
            await deliver_again(spool, 2)
            assert await stored(spool, stream) == once(1, 2) + Counter([b"0"])
            waiting.cancel()


async def test_a_chunk_that_is_on_its_way_is_not_trimmed(proxy: HoldingProxy, nats: NatsServer, stream: str) -> None:
    """A sink may have delivered it before its answer comes; the repeat must still find it."""
    async with opened([proxy.url], stream, "same") as spool, opened([nats.url], stream, "other") as other:
        reader = await spool.attach(route("cloud"))
        await deliver(spool, 1)
        for each in spool.unacknowledged("sender"):
            assert each.confirmation is not None
            each.confirmation.confirm()
        proxy.lose_answers(Names(stream).subject("same"))
        waiting = asyncio.create_task(deliver(spool, 2))
        await until(lambda: proxy.lost > 0)
        await Pipe(other).append(fresh(1))
        reader.delivered(await take(reader, 7))
        await spool.flush()
        await spool.engine.announcement.write()
        await other.engine.announcement.write()
        await spool.engine.trimming.trim()
        await other.engine.trimming.trim()
        assert await stored(spool, stream) == once(2) + Counter([b"0"])
        proxy.lose_answers("")
        await waiting
        assert await stored(spool, stream) == once(2) + Counter([b"0"])
        assert spool.ledgers == {"cloud": ledger(7, 7)}


async def test_what_comes_after_everything_was_trimmed_is_stored_at_the_first_attempt(
    nats: NatsServer, stream: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened([nats.url], stream) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        for number in range(3):
            await pipe.append(sent(number))
            reader.delivered(await take(reader, 3))
            await spool.flush()
            await spool.engine.announcement.write()
            await spool.engine.trimming.trim()
            assert (await spool.engine.api.state(stream)).messages == 0
        assert (await spool.engine.api.state(stream)).last == 6, "a mark before each"
    assert "cannot be stored" not in capsys.readouterr().out


async def test_a_process_that_has_a_successor_stores_nothing_more_and_leaves_the_record_to_it(
    nats: NatsServer, stream: str
) -> None:
    """As one that was suspended and replaced; nothing in the stream shows it the other, because all of it is trimmed."""
    async with opened([nats.url], stream, "same") as suspended:
        await deliver(suspended, 1)
        async with opened([nats.url], stream, "same") as spool:
            await deliver_again(spool, 1, 2)
            await spool.engine.announcement.write()
            api = spool.engine.api
            await api.purge(stream, before=(await api.state(stream)).last + 1)
            waiting = asyncio.create_task(deliver(suspended, 2))
            await refused(suspended)
            with pytest.raises(Unavailable, match="another router was started"):
                await suspended.engine.announcement.write()
            await spool.engine.announcement.check()
            await deliver(spool, 3)
            assert await stored(spool, stream) == once(3)
            waiting.cancel()


async def test_the_receipts_of_a_first_run_that_is_killed_at_once_are_found(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream, "same") as killed:
        await deliver(killed, 1)
        async with opened([nats.url], stream, "same") as spool:
            assert [each.receipt for each in spool.unacknowledged("sender")] == [b"1"]
        # the second run has ended in good order, and needed what the first one has not confirmed
        async with opened([nats.url], stream, "same") as spool:
            await deliver_again(spool, 1)
            assert await stored(spool, stream) == once(1)


async def test_receipts_are_read_to_the_end_from_a_replica_that_lags_behind(
    nats: NatsServer, proxy: HoldingProxy, stream: str
) -> None:
    async with opened([nats.url], stream, "same") as killed:
        await deliver(killed, 1)
        await deliver(killed, 2)
        proxy.be_late(f"DIRECT.GET.{stream}", 2)
        async with opened([proxy.url], stream, "same") as spool:
            assert not proxy.late
            assert [each.receipt for each in spool.unacknowledged("sender")] == [b"1", b"2"]


async def test_a_full_stream_keeps_no_router_from_starting(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream, "same", max_bytes=20_000) as killed:
        await killed.attach(route("cloud"))
        await deliver(killed, 1)
        waiting = asyncio.create_task(Pipe(killed).append(fresh(400, payload=lambda _: noise(100))))
        await until(lambda: killed.status.state == "full")
        room = 20_000 - (await killed.engine.api.state(stream)).bytes
        # not even a mark fits
        await killed.engine.api.publish(Names(stream).subject("filler"), noise(room - 100), {})
        async with opened([nats.url], stream, "same", max_bytes=20_000) as spool:
            assert [each.receipt for each in spool.unacknowledged("sender")] == [b"1"]
        waiting.cancel()


async def test_readers_step_over_marks_and_count_nothing_for_them(nats: NatsServer, stream: str) -> None:
    """Each restart leaves one in the stream, for every reader to step over."""
    for number in range(1, 4):
        async with opened([nats.url], stream, "same") as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("cloud"))
            await pipe.append(sent(number))
            assert len(await take(reader, 3 * number)) == 3 * number
            assert spool.ledgers == {"cloud": ledger(3 * number)}
            assert spool.status.quarantined_chunks == 0
            assert not spool.faults
    async with opened([nats.url], stream, "same", cache_bytes=1) as spool:
        reader = await spool.attach(route("cloud"))
        reader.delivered(await take(reader, 9))
        await spool.flush()
        assert spool.ledgers == {"cloud": ledger(9, 9)}
        await spool.engine.trimming.trim()
        assert (await spool.engine.api.state(stream)).messages == 0


async def test_the_age_of_what_waits_behind_a_mark_is_known(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(sent(1))
        first = await take(reader, 3)
        async with opened([nats.url], stream, "other") as other:
            await other.attach(route("cloud"))
            await Pipe(other, route("cloud")).append(sent(2))
            await until(lambda: spool.engine.tail.end >= other.engine.tail.end)
        reader.delivered(first)
        assert spool.ledgers == {"cloud": ledger(6, 3)}
        assert reader.oldest_pending_at == sent(2)[0].received_at


@pytest.mark.parametrize("name", [" box", "box\r\nNats-Rollup: all", "Werk Süd 7"])
async def test_a_router_recognises_its_chunk_also_by_a_name_that_no_header_holds(
    server: NatsServer, stream: str, name: str
) -> None:
    async with opened([server.url], stream, name, patience=0.2) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(1))
        server.freeze()
        # it is in the socket of the frozen server, and is sent again
        waiting = asyncio.create_task(pipe.append(fresh(5)))
        await until(lambda: spool.status.state == "failing")
        server.thaw()
        await waiting
        assert len(await take(reader, 6)) == 6
        assert spool.ledgers == {"cloud": ledger(6)}
