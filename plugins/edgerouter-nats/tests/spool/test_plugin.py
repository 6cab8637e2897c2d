"""The spool on JetStream keeps the promises of every spool, opened by its entry point.

Covers also: edgerouter_nats.spool.config, edgerouter_nats.spool.operator, edgerouter_nats.spool.sharing,
edgerouter_nats.spool.letters, edgerouter_nats.spool.overview.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from edgerouter import plugins
from edgerouter.errors import SpoolError
from edgerouter.spool.contract import Spool
from edgerouter_nats.spool.config import JetStreamSpoolConfig
from edgerouter_nats.spool.trimming import read_shared
from support.dead_letter_contract import Opened
from support.durable_spool_contract import DurableSpoolContract
from support.nats.cluster import NatsServer
from support.nats.sharing import settings, shared
from support.spools import Pipe, fresh, ledger, route, sound, take, until

_numbers: Iterator[int] = iter(range(1000))


class TestJetStream(DurableSpoolContract):
    @pytest.fixture
    def opened(self, nats: NatsServer, tmp_path: Path) -> Opened:
        stream = f"CONTRACT-{next(_numbers)}"

        def opened_with(**settings: object) -> AbstractAsyncContextManager[Spool]:
            config = JetStreamSpoolConfig.model_validate(
                {
                    "servers": [nats.url],
                    "monitor": [f"http://127.0.0.1:{nats.monitor_port}"],
                    "stream": stream,
                    "path": tmp_path,
                    "commit_interval": 0,
                    "max_bytes": "8MiB",
                    "lease": 2,
                    **settings,
                }
            )
            return plugins.open_spool(config, "box")

        return opened_with


async def test_a_command_works_on_the_spool_of_routers_that_are_stopped(nats: NatsServer, tmp_path: Path) -> None:
    """It shows the sinks of all of them, and may make messages pending again; the next router sends these."""
    section = settings(nats, tmp_path, "one", stream="COMMAND", shards=3, retain={"bytes": "1MiB"})
    async with shared(section) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(20, topic="a") + fresh(20, topic="b"))
        reader.delivered(await take(reader, 40))
    config = JetStreamSpoolConfig.model_validate(section)
    async with plugins.open_spool(config, "box", command=True) as stopped:
        assert stopped.ledgers == {"cloud": ledger(40, 40)}
        assert await stopped.tools.replay("cloud", topic="a") == 20
        await sound(stopped)
    async with shared(section) as spool:
        (reader,) = await Pipe(spool).attach(route("cloud"))
        assert {message.topic for message in await take(reader, 20)} == {"a"}
        assert set((await read_shared(spool.engine.state)).routers) == {"one"}, "the command has left nothing"
        async with plugins.open_spool(config, "box", command=True) as beside:
            with pytest.raises(SpoolError, match="the sink 'cloud' is drained by one, where this command has to run"):
                await beside.tools.replay("cloud")


async def test_each_router_shows_its_part_and_the_sum_of_all(nats: NatsServer, tmp_path: Path) -> None:
    one, two = (settings(nats, tmp_path, name, stream="SUMS", shards=4) for name in ("one", "two"))
    async with shared(one) as first, shared(two) as second:
        pipe = Pipe(first)
        (reader,) = await pipe.attach(route("cloud"))
        other = await second.attach(route("cloud"))

        def parts() -> list[int]:
            seen = [spool.status.shared for spool in (first, second)]
            return [sum(each.routers.values()) for each in seen if each is not None and set(each.routers) == {"one", "two"}]

        await until(lambda: parts() == [4, 4] and bool(second.held) and len(list(first.held)) == 2)
        for n in range(20):
            await pipe.append(fresh(5, topic=f"t/{n}"))
        await until(lambda: reader.ledger.matched + other.ledger.matched == 100)
        assert reader.ledger.matched
        assert other.ledger.matched
        for spool in (first, second):
            await spool.flush()
        await until(lambda: all(s.status.shared.ledgers == {"cloud": ledger(100)} for s in (first, second) if s.status.shared))
        leases = [spool.status.shared for spool in (first, second)]
        assert all(each is not None and each.shards == 2 and 0 < each.lease_seconds <= 1 for each in leases)
        assert all(each is not None and (each.lost_shards, each.unwritten_seconds) == (0, 0.0) for each in leases)
