"""A stream of another JetStream domain is reached through a leaf node: written, received and acknowledged, and used as a spool.

Covers also: edgerouter_nats.spool.api.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgerouter import Unavailable
from edgerouter.testing import make_context, make_messages
from edgerouter_nats.connection import connecting
from edgerouter_nats.jetstream.sink import JetStreamSink, JetStreamSinkConfig
from edgerouter_nats.jetstream.source import JetStreamSource
from edgerouter_nats.settings import NatsSettings
from support.mosquitto import free_port
from support.nats.cluster import NatsServer
from support.nats.sharing import settings, shared
from support.pipeline import until
from support.receiving import opened
from support.spools import Pipe, fresh, ledger, route, take


@contextmanager
def leaf_and_hub(folder: Path, jetstream: Sequence[str] | None) -> Iterator[tuple[NatsServer, NatsServer]]:
    """Run a leaf node, with these lines of JetStream's if it holds streams, and the hub behind it."""
    port = free_port()
    hub = NatsServer(
        folder / "hub",
        [f"leafnodes {{ listen: 127.0.0.1:{port} }}"],
        jetstream=("sync_interval: always", "domain: hub"),
        name="hub",
    )
    remote = f'leafnodes {{ remotes: [ {{ url: "nats-leaf://127.0.0.1:{port}" }} ] }}'
    with hub, NatsServer(folder / "leaf", [remote], jetstream=jetstream, name="leaf") as leaf:
        yield leaf, hub


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NatsServer, NatsServer]]:
    """The leaf node, which holds no streams, and the hub behind it."""
    with leaf_and_hub(Path(tmp_path_factory.mktemp("domain")), None) as running:
        yield running


async def test_messages_go_to_a_stream_of_the_domain_and_come_back(servers: tuple[NatsServer, NatsServer]) -> None:
    leaf, hub = servers
    through = {"servers": [leaf.url], "domain": "hub", "stream": "PLANT"}
    async with connecting(NatsSettings.model_validate({"servers": [hub.url]}), "test") as connector:
        await (await connector.connection()).jetstream().add_stream(name="PLANT", subjects=["plant.>"])
    async with JetStreamSink.open(
        JetStreamSinkConfig.model_validate({**through, "subject": "plant.{topic}"}), make_context()
    ) as sink:
        assert not (await sink.write(make_messages([b"1", b"2"], topic="a"))).failed
    received = {**through, "durable": "box"}
    async with opened(JetStreamSource, received) as source:
        assert [message.payload for message in await source.messages(2)] == [b"1", b"2"]
    async with connecting(NatsSettings.model_validate({"servers": [hub.url]}), "test") as connector:
        info = await (await connector.connection()).jetstream().consumer_info("PLANT", "box")
    assert (info.num_ack_pending, info.num_pending) == (0, 0)


async def test_a_spool_may_be_in_the_domain(servers: tuple[NatsServer, NatsServer], tmp_path: Path) -> None:
    leaf, hub = servers
    section = settings(hub, tmp_path, "one", stream="FAR") | {"servers": [leaf.url], "domain": "hub"}
    async with shared(section) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("cloud"))
        await pipe.append(fresh(10))
        reader.delivered(await take(reader, 10))
        assert spool.ledgers == {"cloud": ledger(10, 10)}


async def test_what_a_stream_of_another_domain_has_stored_is_not_acknowledged(tmp_path: Path) -> None:
    """Core NATS carries each subject to both domains of an account, and the first answer may be that of the other stream."""
    with leaf_and_hub(tmp_path, ("sync_interval: always", "domain: leaf")) as (leaf, hub):
        await until(lambda: leaf.monitor("/leafz")["leafnodes"] == 1)
        async with connecting(NatsSettings.model_validate({"servers": [hub.url]}), "test") as connector:
            await (await connector.connection()).jetstream().add_stream(name="OTHER", subjects=["BOX.chunks.*"])
        async with shared(settings(leaf, tmp_path, "one", stream="BOX")) as spool:
            pipe = Pipe(spool)
            await pipe.attach(route("cloud"))
            await pipe.append(fresh(1))
            await spool.engine.api.request("STREAM.DELETE.BOX", None)
            waiting = asyncio.create_task(pipe.append(fresh(1)))
            await until(lambda: spool.status.state == "failing")
            assert len(pipe.acknowledged) == 1
            with pytest.raises(Unavailable, match=r"the stream OTHER of the JetStream domain hub takes BOX\.chunks\.two too"):
                await spool.engine.api.publish("BOX.chunks.two", b"", {})
            waiting.cancel()
