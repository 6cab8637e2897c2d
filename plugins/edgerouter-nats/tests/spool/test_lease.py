"""One router at a time drains a shard, a silent one is replaced, and one that comes back too late counts nothing twice.

Covers also: edgerouter_nats.spool.claims, edgerouter_nats.spool.membership.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from edgerouter.message import Message
from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.sharing import Sharing
from edgerouter_nats.spool.spool import JetStreamSpool
from support.nats.cluster import NatsServer
from support.nats.holding_proxy import HoldingProxy
from support.nats.sharing import Drainer, settings, shared
from support.pipeline import until
from support.spools import Pipe, fresh, ledger, route, take
from support.stopped import freeze

ROOT = Path(__file__).parents[4]
_names: Iterator[str] = (f"LEASE-{number}" for number in range(1000))


@pytest.fixture
def stream() -> str:
    """A name that no other test uses."""
    return next(_names)


class Fleet:
    """Routers in this process, each with a drainer of the sink `cloud`."""

    def __init__(self, server: NatsServer, folder: Path, stream: str, shards: int) -> None:
        self.seen: list[tuple[str, Message]] = []
        self.spools: dict[str, JetStreamSpool] = {}
        self._server, self._folder, self._stream, self._shards = server, folder, stream, shards

    @asynccontextmanager
    async def router(self, name: str) -> AsyncIterator[JetStreamSpool]:
        """Run one router."""
        section = settings(self._server, self._folder, name, stream=self._stream, shards=self._shards)
        async with shared(section) as spool:
            reader = await spool.attach(route("cloud"))
            self.spools[name] = spool
            drain = asyncio.create_task(Drainer(reader, name, self.seen).run())
            try:
                yield spool
            finally:
                drain.cancel()
                await asyncio.wait([drain])
                del self.spools[name]

    def held(self) -> dict[str, int]:
        """Return how many shards each router drains."""
        return {name: len(sharing_of(spool).leases.held) for name, spool in self.spools.items()}


def sharing_of(spool: JetStreamSpool) -> Sharing:
    assert isinstance(spool.sharer, Sharing)
    return spool.sharer


def keyed(count: int, first: int = 0) -> list[Message]:
    """Messages of ten keys, whose payloads rise."""
    return [Message(f"key/{n % 10}", b"%d" % n, 1_790_000_000_000_000_000 + n * 1000, 1) for n in range(first, first + count)]


def shares(spool: JetStreamSpool) -> dict[str, int]:
    """Return the number of shards that each router drains, as the status of this one shows it."""
    status = spool.status.shared
    assert status is not None
    return dict(status.routers)


async def test_a_shard_shows_as_taken_once_its_messages_are_in_the_numbers(nats: NatsServer, tmp_path: Path, stream: str) -> None:
    """Between its claim and its position a router would otherwise look as if nothing were pending."""
    async with HoldingProxy(nats.port).running() as proxy:
        section = settings(nats, tmp_path, "one", stream=stream, servers=[proxy.url])
        async with shared(settings(nats, tmp_path, "before", stream=stream)) as spool:
            pipe = Pipe(spool)
            await pipe.attach(route("cloud"))
            await pipe.append(fresh(5))
            await spool.flush()
        async with shared(section) as spool:
            names = Names(stream)
            proxy.hold(names.key(names.position_key("cloud")))
            attaching = asyncio.create_task(spool.attach(route("cloud")))
            await until(lambda: proxy.held)
            assert shares(spool) == {"one": 0}
            assert spool.ledgers == {}
            await proxy.release()
            await attaching
            await until(lambda: shares(spool) == {"one": 1}, 20)
            assert spool.ledgers == {"cloud": ledger(5)}


async def test_shards_are_shared_fairly_and_handed_over_as_routers_come_and_go(
    nats: NatsServer, tmp_path: Path, stream: str
) -> None:
    """Each key keeps its order, whichever router drains it, and nothing comes twice where routers leave in good order."""
    fleet = Fleet(nats, tmp_path, stream, 6)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(fleet.router("one"))
        pipe = Pipe(one, route("cloud"))
        await pipe.append(keyed(500))
        await until(lambda: len(fleet.seen) == 500)
        await stack.enter_async_context(fleet.router("two"))
        async with fleet.router("three"):
            await until(lambda: fleet.held() == {"one": 2, "two": 2, "three": 2}, 20)
            for first in range(500, 2000, 100):
                await pipe.append(keyed(100, first))
            await until(lambda: len(fleet.seen) == 2000, 20)
        await pipe.append(keyed(500, 2000))
        await until(lambda: fleet.held() == {"one": 3, "two": 3}, 20)
        await until(lambda: len(fleet.seen) == 2500, 20)
        payloads = [int(message.payload) for _, message in fleet.seen]
        assert Counter(payloads) == Counter(range(2500))
        for key in range(10):
            of_key = [payload for payload in payloads if payload % 10 == key]
            assert of_key == sorted(of_key)
        assert len({name for name, _ in fleet.seen}) == 3
        for spool in fleet.spools.values():
            await spool.flush()
        records = await one.shard_records()
        assert sum(record.delivered for record in records.values()) == 2500
        assert sum(record.pending for record in records.values()) == 0


async def test_sinks_are_spread_over_the_routers_too(nats: NatsServer, tmp_path: Path, stream: str) -> None:
    sections = [settings(nats, tmp_path, name, stream=stream) for name in ("one", "two")]
    async with shared(sections[0]) as one, shared(sections[1]) as two:
        for sink in ("a", "b", "c", "d"):
            await one.attach(route(sink))
            await two.attach(route(sink))
        await until(lambda: [len(sharing_of(spool).leases.held) for spool in (one, two)] == [2, 2], 20)
        leases = sharing_of(one).leases
        leases.fenced(leases.held[0])
        seen = one.status.shared
        assert seen is not None
        assert seen.lost_shards == 1, "one that another router takes is counted"


async def test_shards_that_were_lost_while_they_were_handed_over_are_drained_by_their_new_router(
    nats: NatsServer, tmp_path: Path, stream: str
) -> None:
    """A router that loses its leases holds no shard, and its claims must not keep another from those."""
    fleet = Fleet(nats, tmp_path, stream, 6)
    async with fleet.router("one") as one:
        leases = sharing_of(one).leases
        async with fleet.router("two"):
            for ledger in leases.held:
                leases.fenced(ledger)
            await until(lambda: fleet.held() == {"one": 3, "two": 3}, 20)


async def test_a_router_that_starts_again_under_its_name_takes_its_shards_at_once(
    nats: NatsServer, tmp_path: Path, stream: str
) -> None:
    section = settings(nats, tmp_path, "one", stream=stream, lease=60)
    process = await _zombie(section, stream, nats, tmp_path, 3)
    process.kill()
    process.communicate()
    async with asyncio.timeout(10), shared(section) as spool:
        reader = await spool.attach(route("cloud"))
        assert len(await take(reader, 3)) == 3


async def test_a_router_that_ends_in_good_order_gives_its_shards_up_before_its_lease_ends(
    nats: NatsServer, tmp_path: Path, stream: str
) -> None:
    one, two = (settings(nats, tmp_path, name, stream=stream, lease=60) for name in ("one", "two"))
    async with shared(two) as staying:
        async with shared(one) as leaving:
            await leaving.attach(route("cloud"))
            assert sharing_of(leaving).leases.held == ("cloud",)
            await Pipe(staying, route("cloud")).append(fresh(3))
            reader = await staying.attach(route("cloud"))
            assert sharing_of(staying).leases.held == ()
        async with asyncio.timeout(10):
            assert len(await take(reader, 3)) == 3


async def test_a_process_that_was_stopped_for_longer_than_its_lease_settles_nothing(
    nats: NatsServer, tmp_path: Path, stream: str
) -> None:
    """Its messages were delivered by the router that took over; what it writes afterwards is refused."""
    zombie = await _zombie(settings(nats, tmp_path, "zombie", stream=stream), stream, nats, tmp_path, 50)
    freeze(zombie.pid)
    try:
        async with shared(settings(nats, tmp_path, "heir", stream=stream)) as heir:
            reader = await heir.attach(route("cloud"))
            async with asyncio.timeout(20):
                again = await take(reader, 50)
            reader.delivered(again[:30])
            await heir.flush()
            os.kill(zombie.pid, signal.SIGCONT)
            out, said = await asyncio.to_thread(zombie.communicate, b"settle\n", 20)
            assert json.loads(out.splitlines()[-1]) == [], "it takes nothing more"
            assert zombie.returncode == 0, said
            assert reader.ledger == ledger(50, 30)
            records = await heir.shard_records()
            assert (records["cloud"].matched, records["cloud"].delivered, records["cloud"].pending) == (50, 30, 20)
            reader.delivered(again[30:])
            await heir.flush()
            records = await heir.shard_records()
            assert (records["cloud"].delivered, records["cloud"].pending) == (50, 0)
            assert (await heir.tools.verify()).problems == ()
    finally:
        zombie.kill()
        zombie.wait()


async def _zombie(section: dict[str, object], stream: str, nats: NatsServer, folder: Path, count: int) -> subprocess.Popen[bytes]:
    """Start a router in a process, and return once it has taken messages that it does not settle."""
    process = _started(section)
    assert process.stdout is not None
    async with shared(settings(nats, folder, "feeder", stream=stream)) as feeder:

        async def known() -> bool:
            return "cloud" in await feeder.shard_records()

        async with asyncio.timeout(20):
            while not await known():
                await asyncio.sleep(0.05)
        await Pipe(feeder).append(fresh(count))
        line = await asyncio.to_thread(process.stdout.readline)
    assert len(json.loads(line)) == count
    return process


def _started(section: dict[str, object]) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "support.nats.sharing", json.dumps(section)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ)
