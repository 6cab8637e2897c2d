"""Damage to a spool costs only the damaged messages: the router starts, reports the loss, and delivers the rest."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.arrivals import arrivals
from support.load import Plan, load
from support.mosquitto import Mosquitto, running
from support.promise import ledgers_hold
from support.router import router

BROKER = ("max_queued_messages 0", "max_inflight_messages 500", "log_type error")
MESSAGES = 5000


def configuration(broker: Mosquitto, tmp_path: Path, *, away: bool) -> dict[str, Any]:
    files = {"type": "file", "path": str(tmp_path / "files"), "start": "oldest"}
    return {
        "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"], "receive_maximum": 500}},
        "spool": {"path": str(tmp_path / "spool")},
        "sinks": {"files": {"type": "http", "url": "http://127.0.0.1:9/"} if away else files},
        "shutdown": {"grace": "0s"},
    }


def flip(file: Path, chance: random.Random) -> None:
    """Change a few bytes at random places."""
    data = bytearray(file.read_bytes())
    for _ in range(4):
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    file.write_bytes(data)


def truncate(file: Path, chance: random.Random) -> None:
    """Cut off the end, as a file system may at a power cut."""
    with file.open("r+b") as opened:
        opened.truncate(chance.randrange(file.stat().st_size))


def flip_in_use(file: Path, chance: random.Random) -> None:
    """Change a few bytes of the part that has been written."""
    data = file.read_bytes()
    file.write_bytes(data.rstrip(b"\0"))
    flip(file, chance)


def truncate_in_use(file: Path, chance: random.Random) -> None:
    """Cut off the end of the part that has been written."""
    file.write_bytes(file.read_bytes().rstrip(b"\0"))
    truncate(file, chance)


def remove(file: Path, _: random.Random) -> None:
    """Delete the file."""
    file.unlink()


DAMAGES = [
    *[("spool.db", flip, seed) for seed in range(6)],
    *[("spool.db-wal", flip, seed) for seed in range(6)],
    *[("spool.db", truncate, seed) for seed in range(4)],
    *[("spool.db-wal", truncate, seed) for seed in range(4)],
    ("spool.db", remove, 0),
    ("spool.db-wal", remove, 0),
    *[("spool.db-commits", flip_in_use, seed) for seed in range(4)],
    *[("spool.db-commits", truncate_in_use, seed) for seed in range(2)],
    ("spool.db-commits", remove, 0),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("name", "damage", "seed"), DAMAGES, ids=[f"{n}-{d.__name__}-{s}" for n, d, s in DAMAGES])
async def test_a_damaged_spool_starts_within_seconds_and_loses_only_what_is_damaged(
    tmp_path: Path, name: str, damage: Callable[[Path, random.Random], None], seed: int
) -> None:
    chance = random.Random(seed)
    with running(tmp_path / "broker", *BROKER) as broker:
        async with router(tmp_path, configuration(broker, tmp_path, away=True)) as process:
            await process.start()
            async with load(Plan(broker.port, messages=MESSAGES)) as publisher:
                report = await publisher.finish()
            await process.until(lambda status: status["spool"]["last_sequence"] == MESSAGES)
            await process.kill()
            file = process.spool / name
            assert file.stat().st_size, "a backlog is in the database and its log"
            damage(file, chance)
            process.write(configuration(broker, tmp_path, away=False))
            await process.start()
            async with load(Plan(broker.port, messages=200, topics=("sensors/after",), client_id="after")) as publisher:
                after = await publisher.finish()
            # the broker has them; the router may not have received them yet
            await process.until(lambda _: not arrivals(tmp_path / "files").missing_from(after.acknowledged_numbers()), 30)
            status = await process.until_delivered()
            ledgers_hold(status)
            log = process.tail(100_000)
            assert await process.stop() == 0
    found = arrivals(tmp_path / "files")
    assert found.missing_from(after.acknowledged_numbers()) == {}, "what came in after the damage is all there"
    missing = sum(map(len, found.missing_from(report.acknowledged_numbers()).values()))
    if missing:
        assert status["spool"]["quarantined_messages"] or "damaged" in log or "salvage" in log, "a loss is reported"
    assert found.duplicates <= 1000
    assert max(found.ids.values()) == 1, "no id stands for two messages"
