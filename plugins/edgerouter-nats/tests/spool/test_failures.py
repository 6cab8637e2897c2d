"""Full streams, servers that are away or slow, lost answers, damage: nothing acknowledged is lost, and each loss is counted.

Covers: edgerouter_nats.spool.appender, edgerouter_nats.spool.link, edgerouter_nats.spool.room, edgerouter_nats.spool.trimming.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgerouter.config.model import RetainPolicy
from edgerouter.errors import SpoolUnusable
from edgerouter.message import Message
from edgerouter.source import Confirmation, Delivery
from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.sequences import chunk_of
from edgerouter_nats.spool.spool import JetStreamSpool
from support.nats.cluster import NatsServer
from support.nats.spools import opened
from support.pipeline import until
from support.spools import Pipe, fresh, ledger, route, take

_names: Iterator[str] = (f"FAIL-{number}" for number in range(1000))
_random = random.Random(1)


@pytest.fixture
def stream() -> str:
    """A name that no other test uses."""
    return next(_names)


def noise(count: int, size: int = 10_000) -> list[Message]:
    """Build messages that do not compress."""
    return fresh(count, payload=lambda _: _random.randbytes(size))


async def settled(spool: JetStreamSpool) -> None:
    """Write down what is settled, and trim."""
    await spool.flush()
    await spool.engine.trimming.trim()


async def test_a_full_stream_blocks_until_sinks_have_made_room(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream, max_bytes=300_000) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(noise(20))
        waiting = asyncio.create_task(pipe.append(noise(20)))
        await until(lambda: spool.status.state == "full")
        assert len(pipe.acknowledged) == 1
        reader.delivered(await take(reader, 20))
        await waiting
        assert spool.status.state == "ok"
        reader.delivered(await take(reader, 20))
        assert spool.ledgers == {"cloud": ledger(40, 40)}


async def test_a_full_stream_that_drops_the_newest_counts_each(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream, max_bytes=300_000, on_full="drop_newest") as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        for _ in range(5):
            await pipe.append(noise(20))
        assert len(pipe.acknowledged) == 5
        assert spool.ledgers == {"cloud": ledger(100, dropped=80)}
        assert spool.drops == {("cloud", "a", "spool_full"): 80}
        reader.delivered(await take(reader, 20))
        assert not spool.faults


async def test_a_full_stream_that_drops_the_oldest_counts_each_wherever_it_is_drained(nats: NatsServer, stream: str) -> None:
    full: dict[str, Any] = {"max_bytes": 300_000, "on_full": "drop_oldest", "cache_bytes": 1}
    async with opened([nats.url], stream, "one", **full) as one, opened([nats.url], stream, "two", **full) as two:
        here, there = Pipe(one), Pipe(two)
        (reader,) = await here.attach(route("here"))
        (other,) = await there.attach(route("there"))
        here.routes |= there.routes
        for _ in range(6):
            await here.append(noise(20))
        assert len(await take(reader, 20)) == 20
        assert one.ledgers["here"] == ledger(120, dropped=100)
        # the other router finds out when it reads
        assert len(await take(other, 20)) == 20
        await until(lambda: two.ledgers["there"] == ledger(120, dropped=100))
        assert not one.faults
        assert not two.faults


async def test_a_message_that_the_server_does_not_take_is_dropped_and_counted_and_its_neighbours_are_stored(
    nats: NatsServer, stream: str
) -> None:
    async with opened([nats.url], stream) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        deliveries = [noise(1), noise(1, 2_000_000), noise(120), noise(1, 1_000_000)]
        deliveries.append([*noise(2), *noise(1, 2_000_000), *noise(50), *noise(1, 1_200_000), *noise(1)])
        await asyncio.gather(*(pipe.append(messages) for messages in deliveries))
        assert pipe.acknowledged == deliveries
        assert len(await take(reader, 175)) == 175
        assert spool.ledgers == {"cloud": ledger(178, dropped=3)}
        assert spool.drops == {("cloud", "a", "message_too_large"): 3}
        assert not spool.faults


async def test_a_delivery_larger_than_the_server_takes_at_once_is_stored_in_parts(tmp_path: Path, stream: str) -> None:
    with NatsServer(tmp_path, ["max_payload: 64KB"]) as server:
        async with opened([server.url], stream) as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("cloud"))
            await pipe.append(noise(20))
            assert len(await take(reader, 20)) == 20
            assert spool.ledgers == {"cloud": ledger(20)}


async def test_what_waits_for_a_server_that_takes_less_by_now_is_stored_in_parts_and_what_it_never_takes_is_counted(
    server: NatsServer, stream: str
) -> None:
    async with opened([server.url], stream) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(noise(1))
        server.kill()
        # made for the server of before
        waiting = asyncio.create_task(pipe.append([*noise(20), *noise(1, 100_000), *noise(20)]))
        await until(lambda: spool.status.state == "failing")
        server.settings = ["max_payload: 64KB"]
        server.start()
        await waiting
        await pipe.append(noise(1))
        assert len(await take(reader, 42)) == 42
        assert spool.ledgers == {"cloud": ledger(43, dropped=1)}
        assert spool.drops == {("cloud", "a", "message_too_large"): 1}
        assert spool.status.state == "ok"


async def test_a_chunk_without_an_answer_is_stored_once_also_where_the_server_takes_less_by_now(
    server: NatsServer, stream: str
) -> None:
    async with opened([server.url], stream, patience=0.2) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(noise(1))
        server.freeze()
        # it is in the socket of the frozen server, which reads it before it reads its configuration, or behind that
        waiting = asyncio.create_task(pipe.append(noise(8)))
        await until(lambda: spool.status.state == "failing")
        server.settings = ["max_payload: 64KB"]
        server.reload()
        server.thaw()
        await waiting
        await pipe.append(noise(1))
        assert len(await take(reader, 10)) == 10
        assert spool.ledgers == {"cloud": ledger(10)}


async def test_a_chunk_whose_answer_is_lost_is_stored_once(server: NatsServer, stream: str) -> None:
    async with opened([server.url], stream, patience=0.2) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(1))
        server.freeze()
        # it is in the socket of the frozen server, and is sent again over new connections
        waiting = asyncio.create_task(pipe.append(fresh(5)))
        await until(lambda: spool.status.state == "failing")
        assert len(pipe.acknowledged) == 1
        server.thaw()
        await waiting
        await pipe.append(fresh(2))
        assert len(await take(reader, 8)) == 8
        assert spool.ledgers == {"cloud": ledger(8)}
        assert spool.status.last_sequence == (await spool.engine.api.state(stream)).last * 1024 + 1023


async def test_while_no_server_answers_nothing_is_acknowledged_and_sinks_keep_what_is_in_memory(
    server: NatsServer, stream: str
) -> None:
    async with opened([server.url], stream) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(10))
        server.kill()
        waiting = [asyncio.create_task(pipe.append(fresh(1))) for _ in range(3)]
        messages = await take(reader, 10)
        reader.delivered(messages)
        await until(lambda: spool.status.state == "failing")
        assert len(pipe.acknowledged) == 1
        server.start()
        await asyncio.gather(*waiting)
        reader.delivered(await take(reader, 3))
        await spool.engine.positions.safe()
        assert spool.status.state == "ok"
        assert spool.ledgers == {"cloud": ledger(13, 13)}


async def test_a_second_process_of_a_name_takes_over_and_the_first_stores_nothing_more(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream, "same") as first, opened([nats.url], stream, "same") as second:
        old, new = Pipe(first), Pipe(second)
        (reader,) = await new.attach(route("cloud"))
        await new.append(fresh(2))
        waiting = asyncio.create_task(old.append(fresh(3)))
        await until(lambda: "another router was started with the name" in first.status.reason)
        assert not old.acknowledged
        waiting.cancel()
        assert len(await take(reader, 2)) == 2


async def test_receipts_that_were_not_confirmed_come_back_and_keep_their_chunks(nats: NatsServer, stream: str) -> None:
    confirmed, open_ = Confirmation(), Confirmation()
    async with opened([nats.url], stream) as spool:
        reader = await spool.attach(route("cloud"))
        for receipt, confirmation in ((b"first", confirmed), (b"second", open_), (b"third", open_)):
            await spool.append("mqtt", Delivery(fresh(2), lambda: None, receipt, confirmation), {"cloud": 2})
        confirmed.confirm()
        reader.delivered(await take(reader, 6))
        await settled(spool)
        await spool.engine.announcement.write()
        await settled(spool)
    async with opened([nats.url], stream) as spool:
        assert [each.receipt for each in spool.unacknowledged("mqtt")] == [b"second", b"third"]
        assert [len(each.messages) for each in spool.unacknowledged("mqtt")] == [2, 2]
        assert spool.unacknowledged("other") == []


async def test_a_delivery_that_is_stored_in_parts_has_its_receipt_with_the_last_of_them(tmp_path: Path, stream: str) -> None:
    """A router that dies between two parts must not find a receipt for messages that it has not stored."""
    with NatsServer(tmp_path, ["max_payload: 64KB"]) as server:
        async with opened([server.url], stream) as spool:
            await spool.attach(route("cloud"))
            one, large = noise(1), noise(20)
            for messages, receipt in ((one, b"one"), (large, b"large")):
                await spool.append("sqs", Delivery(messages, lambda: None, receipt, Confirmation()), {"cloud": len(messages)})
            stored = await spool.engine.api.read(stream, 1, most=100, max_bytes=10**7)
            receipts = [[r.receipt for r in spool.engine.envelopes.open(each.sequence, each.data).receipts] for each in stored]
            # a mark comes first
            assert receipts == [[], [b"one"], *[[]] * (len(stored) - 3), [b"large"]]
            assert len(stored) >= 5
        async with opened([server.url], stream) as spool:
            found = [(each.receipt, [m.payload for m in each.messages]) for each in spool.unacknowledged("sqs")]
            assert found == [(b"one", [m.payload for m in one]), (b"large", [m.payload for m in large])]


async def test_a_damaged_chunk_is_skipped_and_others_are_read(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(2))
        await spool.engine.api.publish(Names(stream).subject("rogue"), b"garbage", {})
        await pipe.append(fresh(2))
        assert len(await take(reader, 4)) == 4
        assert spool.ledgers == {"cloud": ledger(4)}
        assert spool.status.quarantined_chunks == 1
        assert not spool.faults


async def test_settled_chunks_are_retained_as_long_as_their_size_allows(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream, retain=RetainPolicy(bytes=250_000)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        for _ in range(5):
            await pipe.append(noise(10))
        reader.delivered(await take(reader, 50))
        await settled(spool)
        first = chunk_of(await spool.oldest())
        assert 2 <= (await spool.engine.api.state(stream)).messages <= 3
        assert [len(chunk.messages) async for chunk in spool.chunks(0, spool.engine.tail.end)] == [10] * (
            (await spool.engine.api.state(stream)).last + 1 - first
        )


async def test_settled_chunks_are_retained_for_their_time(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream, retain=RetainPolicy(age=3600)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(10))
        reader.delivered(await take(reader, 10))
        await settled(spool)
        assert [len(chunk.messages) async for chunk in spool.chunks(0, spool.engine.tail.end) if chunk.messages] == [10]


async def test_a_stream_that_is_not_a_spool_is_refused_by_name(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream) as spool:
        api = spool.engine.api
        await api.request("STREAM.CREATE.FOREIGN", {"name": "FOREIGN", "subjects": ["foreign"]})
        with pytest.raises(SpoolUnusable, match="FOREIGN exists and is not a spool"):
            async with opened([nats.url], "FOREIGN"):
                pass
        await api.request(f"STREAM.DELETE.{stream}", None)
    with pytest.raises(SpoolUnusable, match=f"its positions are still in the bucket {stream}_STATE"):
        async with opened([nats.url], stream):
            pass
