"""The test cluster: three real servers that keep a stream of three replicas while one of them is down.

Covers: tests/support/nats.
"""

from __future__ import annotations

from pathlib import Path

from nats.errors import Error

from edgerouter import Unavailable
from edgerouter_nats.connection import Connector, connecting
from edgerouter_nats.settings import NatsSettings
from support.nats.cluster import NatsCluster


async def published(connector: Connector, subject: str) -> int:
    """Publish until the stream has a leader again."""
    for _ in range(30):
        try:
            stream = (await connector.connection()).jetstream(timeout=1)
            return (await stream.publish(subject, b"2", headers={"Nats-Msg-Id": "2"})).seq
        except (Unavailable, Error):
            continue
    raise TimeoutError


async def test_a_stream_of_three_replicas_outlives_the_kill_of_any_node(tmp_path: Path) -> None:
    with NatsCluster(tmp_path) as cluster:
        async with connecting(NatsSettings(servers=tuple(cluster.urls)), "test") as connector:
            stream = (await connector.connection()).jetstream()
            await stream.add_stream(name="three", subjects=["three.>"], num_replicas=3)
            first = await stream.publish("three.a", b"1")
            cluster.nodes[0].kill()
            cluster.wait_for_leader()
            second = await published(connector, "three.a")
            assert (first.seq, second) == (1, 2)
            cluster.nodes[0].start()
