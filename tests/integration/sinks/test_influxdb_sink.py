"""The InfluxDB sink in a whole router: a message that counts as delivered is a point, and stays one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from support.influxdb import BUCKET, ORG, TOKEN, InfluxDbServer
from support.load import Plan, load
from support.mosquitto import running
from support.router import router

BROKER = ("max_queued_messages 0", "max_inflight_messages 0", "log_type error")
MESSAGES = 20_000


@pytest.mark.timeout(300)
async def test_messages_of_one_topic_that_waited_at_the_broker_are_as_many_points_in_their_order(tmp_path: Path) -> None:
    """They arrive in a few reads of thousands each, with one time of reception per read."""
    with running(tmp_path / "broker", *BROKER) as broker:
        async with InfluxDbServer().running() as server:
            config = {
                "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["t"], "receive_maximum": 65535}},
                "sinks": {"points": {"type": "influxdb", "url": server.url, "token": TOKEN, "org": ORG, "bucket": BUCKET}},
            }
            async with router(tmp_path, config) as process:
                await process.start()
                assert await process.stop() == 0
                async with load(Plan(broker.port, topics=("t",), messages=MESSAGES, payload_bytes=50)) as publisher:
                    report = await publisher.finish()
                assert report.acknowledged == MESSAGES
                await process.start()
                status = await process.until(lambda status: status["sinks"]["points"]["delivered"] == MESSAGES, 150)
                assert await process.stop() == 0
    assert status["sinks"]["points"]["matched"] == MESSAGES
    numbers = [point.fields["n"] for point in sorted(server.points.values(), key=lambda point: point.time)]
    assert len(server.points) == MESSAGES
    assert numbers == [float(number) for number in range(1, MESSAGES + 1)]
    assert all(one.time < other.time for one, other in pairwise(sorted(server.points.values(), key=lambda point: point.time)))
