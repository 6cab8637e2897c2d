"""Routers that share a subscription and nothing else lose nothing when one is killed, and nothing while all are restarted.

Covers: tests/support/fleet.py, tests/support/rumqttd.py.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from support import mosquitto, rumqttd
from support.fleet import fleet
from support.load import Plan, load, topics

WINDOW = 200
"""Receive maximum of each router: at most so many messages are in flight when one is killed."""


def _mosquitto(folder: Path) -> AbstractContextManager[Any]:
    return mosquitto.running(folder, "max_queued_messages 0", "max_inflight_messages 1000", "log_type error")


@pytest.mark.parametrize("broker", [_mosquitto, rumqttd.running], ids=["mosquitto", "rumqttd"])
async def test_a_killed_router_and_a_rolling_restart_lose_nothing_and_every_copy_is_named(
    tmp_path: Path, broker: Callable[[Path], AbstractContextManager[Any]]
) -> None:
    with broker(tmp_path / "broker") as running:
        async with fleet(tmp_path, running.url, receive_maximum=WINDOW) as routers:
            await routers.start()
            async with load(Plan(getattr(running, "publish_port", running.port), rate=500)) as publisher:
                await publisher.at_least(300)
                await routers.routers[0].kill()
                await publisher.at_least(publisher.acknowledged + 300)
                await routers.routers[0].start()
                await routers.roll(1, 2)
                report = await publisher.stop()
            found = await routers.quiet(report)
    assert found.missing == 0
    assert found.shared_ids == 0
    assert found.ledger["matched"] == found.ledger["delivered"] == found.distinct_ids, "the sum of the ledgers is exact"
    assert found.distinct_ids == report.acknowledged + found.repeats, "a copy is a message with an id"
    # mosquitto before 2.0.13 exceeds the window; rumqttd gives what a dead router had stored to another
    assert found.repeats <= 10 * WINDOW
    assert min(found.by_router) > 0, found


async def test_a_router_that_unsubscribes_before_it_is_removed_takes_no_message_with_it(tmp_path: Path) -> None:
    """Mosquitto keeps assigning messages to the session of a dead member: only an unsubscribed one may be deleted."""
    with _mosquitto(tmp_path / "broker") as running:
        async with fleet(tmp_path, running.url, 2) as routers:
            await routers.start()
            stays, leaves = routers.routers
            await leaves.kill()
            async with load(Plan(running.port, messages=1000, client_id="first")) as publisher:
                first = await publisher.finish()
            config = leaves.config
            config["sources"]["shared"]["topics"] = ["edgerouter/leaving"]
            leaves.write(config)
            await leaves.start()
            found = await routers.quiet(first)
            assert min(found.by_router) > 0, "the session of the dead one had its share"
            await routers.drain(1)
            async with load(Plan(running.port, messages=1000, topics=topics(10, "sensors/second"))) as publisher:
                second = await publisher.finish()
            await stays.until(lambda status: status["sinks"]["files"]["delivered"] == found.by_router[0] + 1000)
    assert routers.arrivals()[0].missing_from(second.acknowledged_numbers()) == {}
