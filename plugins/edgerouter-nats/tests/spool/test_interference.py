"""An operator or a foreign client changes or deletes what the spool stands on: nothing is acknowledged that would be lost.

Covers also: edgerouter_nats.spool.holding, edgerouter_nats.spool.state.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from edgerouter import Unavailable
from edgerouter.errors import SpoolError, SpoolUnusable
from edgerouter_nats.connection import connecting
from edgerouter_nats.settings import NatsSettings
from edgerouter_nats.spool.api import Api
from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.stream import stream_config, unsafe
from support.nats.cluster import NatsServer
from support.nats.sharing import settings, shared
from support.nats.spools import Options, opened
from support.pipeline import until
from support.spools import Pipe, fresh, ledger, payloads, route, take

_names: Iterator[str] = (f"CHANGED-{number}" for number in range(1000))


@pytest.fixture
def stream() -> str:
    """A name that no other test uses."""
    return next(_names)


async def delete(api: Api, stream: str) -> None:
    await api.request(f"STREAM.DELETE.{stream}", None)


async def test_a_stream_that_is_deleted_under_a_router_is_given_no_more_messages_and_the_cure_is_named(
    nats: NatsServer, stream: str
) -> None:
    async with opened([nats.url], stream) as spool:
        pipe = Pipe(spool, route("cloud"))
        await spool.attach(route("cloud"))
        await pipe.append(fresh(3))
        await delete(spool.engine.api, stream)
        waiting = asyncio.create_task(pipe.append(fresh(1)))
        await until(lambda: f"delete that too, with `nats kv del {stream}_STATE`" in spool.status.reason)
        assert (len(pipe.acknowledged), spool.status.state) == (1, "failing")
        with pytest.raises(SpoolUnusable, match=f"the stream {stream} was deleted, and its positions are still in the bucket"):
            async with opened([nats.url], stream, "other"):
                pass
        assert spool.status.state == "failing", "the start that was refused has made no stream"
        waiting.cancel()


async def test_a_stream_that_is_made_anew_gets_nothing_from_routers_of_the_one_before(nats: NatsServer, stream: str) -> None:
    """They would see what they store there as long settled, and deliver none of it."""
    async with opened([nats.url], stream) as spool:
        pipe = Pipe(spool, route("cloud"))
        await spool.attach(route("cloud"))
        await pipe.append(fresh(3))
        await pipe.append(fresh(3))
        api = spool.engine.api
        await delete(api, Names(stream).state)
        await delete(api, stream)
        async with opened([nats.url], stream, "other") as other:
            there = Pipe(other)
            (reader,) = await there.attach(route("cloud"))
            waiting = asyncio.create_task(pipe.append(fresh(1, payload=lambda _: b"lost")))
            await until(lambda: "was made anew" in spool.status.reason)
            await there.append(fresh(2))
            assert len(await take(reader, 2)) == 2
            assert len(pipe.acknowledged) == 2
        waiting.cancel()


async def test_without_the_bucket_a_start_delivers_again_what_the_stream_holds(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(3))
        reader.delivered((await take(reader, 3))[:1])
        await delete(spool.engine.api, Names(stream).state)
        await pipe.append(fresh(2))
        assert len(pipe.acknowledged) == 2
    async with opened([nats.url], stream) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(1))
        assert payloads(await take(reader, 6)) == [b"0", b"1", b"2", b"0", b"1", b"0"]
        (late,) = await pipe.attach(route("later"))
        assert len(await take(late, 5)) == 5
        assert spool.ledgers["cloud"] == ledger(6)
        assert not spool.faults


@pytest.mark.parametrize("leaves_a_mark", [False, True])
async def test_a_position_that_is_deleted_in_the_bucket_is_written_again(
    nats: NatsServer, tmp_path: Path, stream: str, *, leaves_a_mark: bool
) -> None:
    section = settings(nats, tmp_path, "one", stream=stream)
    async with shared(section) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(5))
        await spool.flush()
        api, names = spool.engine.api, Names(stream)
        key = names.key(names.position_key("cloud"))
        if leaves_a_mark:
            await api.publish(key, b"", {"KV-Operation": "DEL"})
        else:
            await api.purge(names.state, subject=key)
        reader.delivered((await take(reader, 5))[:2])
        await spool.engine.positions.safe()
        await until(lambda: not spool.engine.ledgers["cloud"].changed)
        await api.purge(names.state, subject=key)
        # without it everything would look settled: trimming finds it missing, and purges no message
        await spool.engine.trimming.trim(full=True)
        assert spool.status.messages == 5
        await spool.engine.positions.safe()
    async with shared(section) as spool:
        reader = await spool.attach(route("cloud"))
        assert payloads(await take(reader, 3)) == [b"2", b"3", b"4"]
        assert spool.ledgers == {"cloud": ledger(5, 2)}


async def test_a_position_that_is_deleted_while_no_router_runs_begins_at_the_oldest_message(
    nats: NatsServer, tmp_path: Path, stream: str
) -> None:
    section = settings(nats, tmp_path, "one", stream=stream)
    async with shared(section) as spool:
        pipe = Pipe(spool)
        await pipe.attach(route("cloud"))
        await pipe.append(fresh(3))
        names = Names(stream)
        await spool.flush()
    async with opened([nats.url], "BESIDE") as beside:
        await beside.engine.api.purge(names.state, subject=names.key(names.position_key("cloud")))
    async with shared(section) as spool:
        (reader,) = await Pipe(spool).attach(route("cloud"))
        assert len(await take(reader, 3)) == 3
        (new,) = await Pipe(spool).attach(route("new"))
        assert new.ledger == ledger()


async def test_a_sink_that_a_running_router_has_is_not_forgotten_by_another(nats: NatsServer, tmp_path: Path, stream: str) -> None:
    one, two = (settings(nats, tmp_path, name, stream=stream) for name in ("one", "two"))
    async with shared(two) as other:
        async with shared(one) as spool:
            await Pipe(spool).attach(route("cloud"))
            with pytest.raises(SpoolError, match="'cloud' is in the configuration of one"):
                await other.forget("cloud")
        await other.forget("cloud")
        assert await other.shard_records() == {}
        assert not await other.engine.trimming.trim()
        assert other.engine.trimming.shared.claimed == ()


async def test_a_limit_that_deletes_messages_stops_acknowledging_until_it_is_gone(nats: NatsServer, stream: str) -> None:
    async with opened([nats.url], stream) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(1))
        api = spool.engine.api
        config = (await api.request(f"STREAM.INFO.{stream}", None))["config"]
        await api.request(f"STREAM.UPDATE.{stream}", config | {"max_age": 3600 * 10**9})
        await spool.engine.trimming.refresh()
        waiting = asyncio.create_task(pipe.append(fresh(1)))
        await until(lambda: f"{stream} has max_age: 3600000000000, and a spool needs 0" in spool.status.reason)
        assert len(pipe.acknowledged) == 1
        with pytest.raises(SpoolUnusable, match="max_age"):
            async with opened([nats.url], stream, "two"):
                pass
        await api.request(f"STREAM.UPDATE.{stream}", config)
        await waiting
        assert len(await take(reader, 2)) == 2
        assert spool.status.state == "ok"


def test_a_stream_with_fewer_copies_than_configured_is_unsafe() -> None:
    names, settings = Names("S"), Options(stream="S", replicas=3)
    found = stream_config(names, settings, "id")
    assert unsafe(found, names, settings, "id") == ""
    reason = unsafe(found | {"num_replicas": 1}, names, settings, "id")
    assert reason == "the stream S has num_replicas: 1, and a spool needs 3: change it with `nats stream edit`"
    assert "was made anew" in unsafe(found, names, settings, "other")
    assert "has storage: memory" in unsafe(found | {"storage": "memory"}, names, settings, "id")


async def test_foreign_messages_are_stepped_over_and_none_is_stored_that_could_not_be_read_again(
    tmp_path: Path, stream: str
) -> None:
    """The server takes 16 MB, and the router reads 8 MiB: the larger of a foreign client, and of a device."""
    noise = random.Random(1).randbytes
    with NatsServer(tmp_path, ["max_payload: 16MB"]) as server:
        async with opened([server.url], stream) as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("cloud"))
            await pipe.append(fresh(1))
            client = Client()
            await client.connect(server.url)
            for foreign in (b"garbage", b"", noise(9_000_000), b"\x94\x02" + noise(100)):
                await client.jetstream().publish(Names(stream).subject("rogue"), foreign)
            await client.close()
            await pipe.append([*fresh(1), *fresh(1, payload=lambda _: noise(9_000_000)), *fresh(1)])
            assert len(await take(reader, 3)) == 3
            assert spool.ledgers == {"cloud": ledger(4, dropped=1)}
            assert spool.status.quarantined_chunks == 4
        async with opened([server.url], stream, "other") as spool:
            reader = await spool.attach(route("cloud"))
            assert len(await take(reader, 3)) == 3
            assert not spool.faults


@pytest.mark.parametrize(
    "headers", [b"garbage\r\n\r\n", b"garbage", b"\r\n\r\n", b"NATS/1.0\r\nNats-Sequence: x\r\nStatus: 404\r\n\r\n"]
)
async def test_headers_that_are_none_stop_no_router(nats: NatsServer, stream: str, headers: bytes) -> None:
    """The server stores whatever stands where headers should, and appends the headers of its answer."""
    async with opened([nats.url], stream) as spool, connecting(NatsSettings(servers=(nats.url,)), "rogue") as rogue:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        connection = await rogue.connection()
        subject = Names(stream).subject("rogue").encode()
        connection.client.post(b"HPUB %b %d %d\r\n%bjunk\r\n" % (subject, len(headers), len(headers) + 4, headers))
        await connection.flush(5)
        await pipe.append(fresh(2))
        assert len(await take(reader, 2)) == 2
        assert spool.status.quarantined_chunks == 1
        assert not spool.faults


async def test_a_deleted_chunk_at_which_a_sink_begins_counts_as_lost_and_those_behind_it_are_read(
    nats: NatsServer, stream: str
) -> None:
    """Versions of the server differ in what they answer at a sequence that is gone."""
    async with opened([nats.url], stream, cache_bytes=1) as spool:
        pipe = Pipe(spool)
        await pipe.attach(route("slow"))
        await pipe.append(fresh(2))
        begin = (await spool.engine.api.state(stream)).last + 1
        (reader,) = await pipe.attach(route("cloud"))
        for _ in range(3):
            await pipe.append(fresh(2))
        await spool.engine.api.request(f"STREAM.MSG.DELETE.{stream}", {"seq": begin})
        assert len(await take(reader, 4)) == 4
        await until(lambda: spool.ledgers["cloud"] == ledger(6, dropped=2))


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"hello", b'{"seq": "1"}', b'{"error": "no"}', b'{"error": {"err_code": "x"}}'])
async def test_the_answer_of_a_foreign_service_counts_as_missing(nats: NatsServer, stream: str, answer: bytes) -> None:
    """A tool that answers whatever is published may be faster than the server."""
    client = Client()
    await client.connect(nats.url)

    async def reply(message: Msg) -> None:
        await message.respond(answer)

    await client.subscribe(f"{stream}.foreign", cb=reply)
    await client.flush()
    async with opened([nats.url], stream) as spool:
        with pytest.raises(Unavailable, match=r"answers"):
            await spool.engine.api.publish(f"{stream}.foreign", b"", {})
    await client.close()
