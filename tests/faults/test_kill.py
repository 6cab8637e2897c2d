"""`kill -9` at random moments loses no acknowledged message, and repeats stay within the guarantee."""

import os
import random
from pathlib import Path

import pytest

from support.load import Plan, load
from support.mosquitto import running
from support.promise import everything_came, ledgers_hold, nothing_is_missing, spool_is_sound
from support.rounds import rounds
from support.router import router

BROKER = ("max_queued_messages 0", "max_inflight_messages 500", "log_type error")
KILLS = int(os.environ.get("EDGEROUTER_TEST_KILLS", "25"))
BATCH = 500
DELIVERED = BATCH + 500
"""Messages that may be delivered again, with the same id, per kill: a batch, and the deliveries since the last commit."""


@pytest.mark.timeout(480 + KILLS)
async def test_kills_at_random_moments_lose_nothing_that_the_broker_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with running(tmp_path / "broker", *BROKER) as broker:
        config = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"]}},
            "sinks": {
                "files": {"type": "file", "path": str(tmp_path / "files"), "batch": {"max_messages": BATCH}},
                "once": {"type": "file", "path": str(tmp_path / "once"), "once": True, "batch": {"max_messages": BATCH}},
            },
        }
        async with router(tmp_path, config) as process:
            await process.start()
            async with load(Plan(broker.port, rate=1500)) as publisher:
                for _ in rounds(KILLS, seconds=KILLS, least=KILLS // 10):
                    # some kills hit the start of the router, most hit it under load
                    if chance.random() < 0.9:
                        await publisher.at_least(publisher.acknowledged + chance.randrange(1, 400))
                    await process.kill()
                    await process.start(connected=chance.random() < 0.8)
                report = await publisher.stop()
            await everything_came(broker.port, tmp_path / "files", tmp_path / "once", seconds=300)
            ledgers_hold(await process.until_delivered())
            assert await process.stop() == 0
    for folder in ("files", "once"):
        found = nothing_is_missing(tmp_path / folder, report, repeats=KILLS * DELIVERED)
        assert found.stored_again == 0, "what the spool holds is recognised when the broker sends it again"
    assert max(found.ids.values()) == 1, "a message stands twice in files that hold every message exactly once"
    await spool_is_sound(process.spool)
