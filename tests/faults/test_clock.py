"""A wall clock that starts in 1970, or jumps, breaks nothing."""

import shutil
from pathlib import Path

import pytest

from support.load import Plan, load
from support.mosquitto import running
from support.promise import ledgers_hold, nothing_is_missing
from support.router import router

BROKER = ("max_queued_messages 0", "max_inflight_messages 500", "log_type error")


def faketime(file: Path) -> dict[str, str]:
    """Return an environment whose wall clock follows the file; the monotonic clock is the real one."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found or shutil.which("faketime") is None:
        pytest.skip("needs Debian's faketime")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }


def set_clock(file: Path, when: str) -> None:
    """Write the time atomically: faketime ends a process that reads an empty file."""
    new = file.with_suffix(".new")
    new.write_text(f"{when}\n")
    new.replace(file)


@pytest.mark.timeout(90)
async def test_a_clock_that_starts_in_1970_and_jumps_loses_nothing_and_stops_nothing(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, "@1970-01-01 00:01:00")
    with running(tmp_path / "broker", *BROKER) as broker:
        config = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"], "receive_maximum": 500}},
            "sinks": {
                "files": {"type": "file", "path": str(tmp_path / "files"), "batch": {"linger": "50ms"}},
                "objects": {"type": "file", "path": str(tmp_path / "objects"), "key": "{time:%Y/%m/%d}/{id}.jsonl"},
            },
        }
        async with router(tmp_path, config, faketime(clock)) as process:
            await process.start()
            async with load(Plan(broker.port, rate=1000)) as publisher:
                for when in ("@2026-11-20 12:00:00", "@2031-01-01 00:00:00", "@2024-02-29 23:59:58", "+0"):
                    await publisher.at_least(publisher.acknowledged + 500)
                    set_clock(clock, when)
                await publisher.at_least(publisher.acknowledged + 500)
                report = await publisher.stop()
            await process.until(
                lambda status: all(sink["delivered"] >= report.acknowledged for sink in status["sinks"].values()), 30
            )
            ledgers_hold(await process.until_delivered())
            assert await process.stop() == 0
    nothing_is_missing(tmp_path / "files", report, repeats=0)
    nothing_is_missing(tmp_path / "objects", report, repeats=0)
    assert not (tmp_path / "objects" / "1970").exists(), "nothing lands in 1970 silently"
