"""A delivery of several chunks is stored whole and once, or not at all.

Covers: edgerouter_nats.spool.writer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from edgerouter.message import Message
from edgerouter.spool.log.chunk import NewChunk
from edgerouter_nats.spool.api import EXPECTED_LAST, MESSAGE_ID
from edgerouter_nats.spool.names import Names
from support.nats.cluster import NatsServer
from support.nats.deliveries import deliver, noise, once, refused, sent, stored
from support.nats.holding_proxy import HoldingProxy
from support.nats.spools import opened
from support.pipeline import until
from support.spools import Pipe, fresh, ledger, route, take

_names: Iterator[str] = (f"LARGE-{number}" for number in range(1000))


@pytest.fixture
def stream() -> str:
    """A name that no other test uses."""
    return next(_names)


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
