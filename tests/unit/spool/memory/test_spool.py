"""The volatile spool: safe means settled.

Covers also: edgerouter.spool.memory.chunks, edgerouter.spool.memory.operator, edgerouter.spool.status.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgerouter.config.model import SpoolConfig
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Rejection
from support.spools import Pipe, fresh, ledger, route, sequences, take, take_some


def memory(**more: object) -> SpoolConfig:
    return SpoolConfig.model_validate({"type": "memory", "path": Path("/nonexistent"), **more})


async def turn() -> None:
    """Let what was called soon be done."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_delivery_is_acknowledged_once_every_sink_that_wants_it_has_settled_it() -> None:
    async with open_spool(memory()) as spool:
        pipe = Pipe(spool)
        a, b = await pipe.attach(route("a", "x"), route("b", "x", "y"))
        await pipe.append(fresh(3, topic="x"))
        await pipe.append(fresh(3, topic="y"))
        await pipe.append(fresh(3, topic="z"))
        await turn()
        assert pipe.acknowledged == []

        of_b = await take(b, 6)
        b.delivered(of_b)
        await turn()
        assert pipe.acknowledged == [], "in order: the first one waits for a"

        of_a = await take(a, 3)
        a.delivered(of_a[:1])
        a.dropped(of_a[1:2], "policy")
        await a.dead_letter([Rejection(of_a[2], "bad", "Rejected", 1, 0)])
        await turn()
        assert [m[0].topic for m in pipe.acknowledged] == ["x", "y", "z"]
        assert a.ledger == ledger(3, 1, 1, 1)
        assert b.ledger == ledger(6, 6)
        assert spool.status.messages == spool.status.bytes == 0
        assert (await spool.tools.verify()).problems == ()


@pytest.mark.parametrize("bound", [{"max_messages": 100}, {"max_bytes": "1MiB"}])
async def test_a_full_spool_blocks_until_a_sink_settles(bound: dict[str, object]) -> None:
    size = 8000 if "max_bytes" in bound else 1
    async with open_spool(memory(**bound)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))

        async def feed() -> None:
            for _ in range(40):
                await pipe.append(fresh(10, payload=lambda n: bytes(size)))

        feeding = asyncio.create_task(feed())
        await turn()
        got = 0
        while got < 400:
            assert spool.status.messages <= 130
            async with asyncio.timeout(5):
                messages = await take_some(reader, 20)
            got += len(messages)
            reader.delivered(messages)
        await feeding
        await turn()
        assert len(pipe.acknowledged) == 40
        assert spool.status.state == "ok"


async def test_a_full_spool_drops_the_oldest_or_the_newest_and_counts_it() -> None:
    for policy, kept in (("drop_oldest", range(51, 101)), ("drop_newest", range(1, 51))):
        async with open_spool(memory(max_messages=50, on_full=policy)) as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("sink"))
            for _ in range(10):
                await pipe.append(fresh(10))
            assert reader.ledger == ledger(100, 0, 0, 50)
            assert spool.drops == {("sink", "a", "spool_full"): 50}
            messages = await take(reader, 50)
            assert sequences(messages) == list(kept)
            reader.delivered(messages)
            await turn()
            assert len(pipe.acknowledged) == 10


async def test_a_filtering_sink_skips_holes() -> None:
    async with open_spool(memory()) as spool:
        pipe = Pipe(spool)
        a, b = await pipe.attach(route("a"), route("b", "rare"))
        for n in range(50):
            await pipe.append(fresh(2, topic="rare" if n % 10 == 9 else "often"))
            a.delivered(await take(a, 2))
            await turn()
        assert spool.status.messages == 10
        assert [m.topic for m in await take(b, 10)] == ["rare"] * 10


async def test_a_blocked_append_can_be_given_up() -> None:
    async with open_spool(memory(max_messages=1)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await pipe.append(fresh(1))
        reader.delivered(await take(reader, 1))
        await turn()
        await pipe.append(fresh(1))
        assert sequences(await take(reader, 1)) == [2]
