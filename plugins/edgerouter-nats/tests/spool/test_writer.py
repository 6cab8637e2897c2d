"""A router is killed in the middle of storing, and started again: what its sources send again is stored once, under one id.

The killed one is a spool that stays open and gets no further. For the stream that is the same, and it is killed at an exact place.

Covers also: edgerouter_nats.spool.earlier, edgerouter_nats.spool.routers, tests/support/nats/holding_proxy.py.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from edgerouter import Unavailable
from edgerouter.message import Message
from edgerouter.source import Confirmation, Delivery
from edgerouter.spool.log.chunk import NewChunk
from edgerouter_nats.spool.api import EXPECTED_LAST, MESSAGE_ID
from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.spool import JetStreamSpool
from support.nats.cluster import NatsServer
from support.nats.holding_proxy import HoldingProxy
from support.nats.spools import opened
from support.pipeline import until
from support.spools import Pipe, fresh, ledger, route, take

noise = random.Random(1).randbytes
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


def sent(number: int, count: int = 3) -> list[Message]:
    """Build the messages of a delivery; each has its own payload."""
    return fresh(count, payload=lambda n: b"%d-%d" % (number, n))


async def deliver(spool: JetStreamSpool, number: int, messages: list[Message] | None = None) -> None:
    """Append a delivery as a source does whose sender sends again what it gets no acknowledgement for."""
    messages = messages or sent(number)
    await spool.append("sender", Delivery(messages, lambda: None, b"%d" % number, Confirmation()), {"cloud": len(messages)})


async def deliver_again(spool: JetStreamSpool, *numbers: int) -> None:
    """Append those deliveries that a new process does not know, in order."""
    known = {int(each.receipt) for each in spool.unacknowledged("sender")}
    for number in numbers:
        if number not in known:
            await deliver(spool, number)


async def stored(spool: JetStreamSpool, stream: str) -> Counter[bytes]:
    """Count the messages of the whole stream by their payload."""
    last = (await spool.engine.api.state(stream)).last
    chunks = [chunk async for chunk in spool.chunks(1024, 1024 * (last + 1))]
    return Counter(message.payload for chunk in chunks for message in chunk.messages)


async def refused(killed: JetStreamSpool) -> None:
    """Wait until a process that lives on has learned that it has a successor."""
    await until(lambda: "another router was started with the name" in killed.status.reason)


def once(*numbers: int) -> Counter[bytes]:
    """Return what a stream holds that has these deliveries once."""
    return Counter(message.payload for number in numbers for message in sent(number))


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


@pytest.fixture(scope="module")
def narrow(store: Path) -> Iterator[NatsServer]:
    """A server whose messages are so small that deliveries are several chunks."""
    with NatsServer(store / "narrow", ["max_payload: 64KB"]) as server:
        yield server


@pytest.fixture
async def before_narrow(narrow: NatsServer) -> AsyncIterator[HoldingProxy]:
    """A proxy in front of it."""
    async with HoldingProxy(narrow.port).running() as proxy:
        yield proxy


def large(number: int) -> list[Message]:
    """Build the messages of a delivery of several chunks; each begins with its own name."""
    return fresh(20, payload=lambda n: b"%d-%d " % (number, n) + noise(10_000))


def beginnings(payloads: Counter[bytes]) -> Counter[bytes]:
    """Count messages by the names that they begin with."""
    return Counter(payload.partition(b" ")[0] for payload in payloads.elements())


def once_large(*numbers: int) -> Counter[bytes]:
    """Return what a stream holds that has these large deliveries once."""
    return Counter(b"%d-%d" % (number, n) for number in numbers for n in range(20))


async def test_a_router_that_is_killed_between_two_chunks_of_a_delivery_has_stored_none_of_them(
    narrow: NatsServer, before_narrow: HoldingProxy, stream: str
) -> None:
    async with opened([before_narrow.url], stream, "same") as killed:
        await deliver(killed, 1)
        before_narrow.hold(Names(stream).subject("same"), after=2)
        waiting = asyncio.create_task(deliver(killed, 2, large(2)))
        await until(lambda: before_narrow.held > 0)
        async with opened([narrow.url], stream, "same") as spool:
            reader = await spool.attach(route("cloud"))
            assert [each.receipt for each in spool.unacknowledged("sender")] == [b"1"]
            await deliver(spool, 2, large(2))
            assert len(await take(reader, 20)) == 20
            await before_narrow.release()
            await refused(killed)
            assert beginnings(await stored(spool, stream)) == once(1) + once_large(2)
            waiting.cancel()


@pytest.mark.parametrize("build", [sent, large])
@pytest.mark.parametrize("remembers", [True, False])
async def test_a_delivery_whose_answer_is_lost_is_stored_once_however_long_the_server_remembers_ids(
    before_narrow: HoldingProxy, stream: str, build: Callable[[int], list[Message]], *, remembers: bool
) -> None:
    """Of one chunk and of several; where the server has forgotten the ids, the end of the subject shows what is stored."""
    async with opened([before_narrow.url], stream, patience=0.2) as spool:
        if not remembers:
            config = (await spool.engine.api.state(stream)).config
            await spool.engine.api.request(f"STREAM.UPDATE.{stream}", {**config, "duplicate_window": 100_000_000})
        await deliver(spool, 1)
        before_narrow.lose_answers(Names(stream).subject("one"))
        messages = build(2)
        waiting = asyncio.create_task(deliver(spool, 2, messages))
        await until(lambda: before_narrow.lost > 1)
        before_narrow.let_new_pass()
        await waiting
        await deliver(spool, 3)
        expected = once(1, 3) + beginnings(Counter(message.payload for message in messages))
        assert beginnings(await stored(spool, stream)) == expected


async def test_a_delivery_of_several_chunks_that_is_cut_off_in_the_middle_is_stored_once(
    before_narrow: HoldingProxy, stream: str
) -> None:
    async with opened([before_narrow.url], stream, patience=0.2) as spool:
        await deliver(spool, 1)
        before_narrow.hold(Names(stream).subject("one"), after=2)
        waiting = asyncio.create_task(deliver(spool, 2, large(2)))
        await until(lambda: before_narrow.held > 0)
        await before_narrow.cut()
        await waiting
        await deliver(spool, 3)
        assert beginnings(await stored(spool, stream)) == once(1, 3) + once_large(2)


async def test_a_batch_of_which_a_server_has_kept_the_beginning_is_completed(narrow: NatsServer, stream: str) -> None:
    """As a single server may that loses its power while it commits; the five messages are the first of four chunks."""
    async with opened([narrow.url], stream) as spool:
        await deliver(spool, 1)
        api, subject, messages = spool.engine.api, Names(stream).subject("one"), large(2)
        last = await api.last(stream, subject)
        assert last is not None
        name, _, number = last.id.rpartition("-")
        beginning = spool.engine.envelopes.seal(NewChunk(messages[:5], {}), {}, 0)
        headers = {MESSAGE_ID: f"{name}-{int(number) + 1}", EXPECTED_LAST: str(last.sequence)}
        await api.publish(subject, beginning.data, headers)
        await deliver(spool, 2, messages)
        assert beginnings(await stored(spool, stream)) == once(1) + once_large(2)


async def test_large_deliveries_of_several_routers_keep_their_chunks_together(narrow: NatsServer, stream: str) -> None:
    """The places of a delivery's chunks are known from that of the last one."""
    async with opened([narrow.url], stream, "one") as one, opened([narrow.url], stream, "two") as two:
        reader = await one.attach(route("cloud"))
        await asyncio.gather(*(deliver(spool, n, large(n)) for n in range(20) for spool in (one, two)))
        taken = await take(reader, 800)
        assert len({message.id for message in taken}) == 800
        names = [message.payload.partition(b" ")[0] for message in taken]
        for at in range(0, 800, 20):
            number = names[at].partition(b"-")[0]
            assert names[at : at + 20] == [b"%s-%d" % (number, n) for n in range(20)]
        chunks = [chunk async for chunk in one.chunks(1024, one.end)]
        assert [message for chunk in chunks for message in chunk.messages] == taken, "as all routers read them"


async def test_a_stream_without_batches_takes_the_chunks_of_a_delivery_one_by_one(narrow: NatsServer, stream: str) -> None:
    """As a server before 2.12 does; an operator who has just changed the stream is noticed by its answer."""
    async with opened([narrow.url], stream) as spool:
        reader = await spool.attach(route("cloud"))
        api = spool.engine.api
        config = (await api.request(f"STREAM.INFO.{stream}", None))["config"]
        assert config["allow_atomic"]
        await api.request(f"STREAM.UPDATE.{stream}", config | {"allow_atomic": False})
        await deliver(spool, 1, large(1))
        await spool.engine.trimming.refresh()
        await deliver(spool, 2, large(2))
        assert len(await take(reader, 40)) == 40
        assert beginnings(await stored(spool, stream)) == once_large(1, 2)
    async with opened([narrow.url], stream) as spool:
        config = (await spool.engine.api.request(f"STREAM.INFO.{stream}", None))["config"]
        assert config["allow_atomic"], "a start makes an older stream take batches"


async def test_a_delivery_that_is_larger_than_the_stream_gets_in_as_its_sinks_make_room(narrow: NatsServer, stream: str) -> None:
    async with opened([narrow.url], stream, max_bytes=150_000) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        waiting = asyncio.create_task(pipe.append(large(1)))
        for _ in range(20):
            reader.delivered(await take(reader, 1))
        await waiting
        assert spool.ledgers == {"cloud": ledger(20, 20)}


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
