"""The promise as an assertion: acknowledged messages have arrived, repeats are bounded, and every ledger adds up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from paho.mqtt import publish

from edgerouter.config.model import SpoolConfig
from edgerouter.spool import open_spool
from support.arrivals import Arrivals, arrivals
from support.load import Report


def ledgers_hold(status: dict[str, Any]) -> None:
    """Check `matched = delivered + filtered + dead_lettered + dropped + pending` for every sink, and that nothing is negative."""
    for name, sink in status["sinks"].items():
        settled = sink["delivered"] + sink["filtered"] + sink["dead_lettered"] + sink["dropped"]
        assert sink["ledger_error"] == "", (name, sink)
        assert sink["matched"] == settled + sink["pending"], (name, sink)
        assert min(sink[field] for field in ("matched", "delivered", "filtered", "dead_lettered", "dropped", "pending")) >= 0, (
            name,
            sink,
        )


_LAST = "sensors/last"


async def everything_came(broker_port: int, *folders: Path, seconds: float = 120) -> None:
    """Wait until each file sink's folder has all messages that the broker had for the router. All publishers have stopped.

    Equal counts of delivered and published messages prove nothing if some arrived twice. So one more message is published, with
    `sensors/#` subscribed to, and waited for: a broker keeps the order of a session, and so does a file.

    Raises:
        TimeoutError: it took longer.
    """
    await asyncio.to_thread(publish.single, _LAST, b'{"n": 0, "t": 0}', 1, hostname="127.0.0.1", port=broker_port)
    async with asyncio.timeout(seconds):
        while not all(_has_the_last(folder) for folder in folders):
            await asyncio.sleep(0.05)


def _has_the_last(folder: Path) -> bool:
    for path in folder.rglob("[!.]*.jsonl"):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            if _LAST.encode() in file.read():
                return True
    return False


def nothing_is_missing(folder: Path, report: Report, *, repeats: int) -> Arrivals:
    """Check that everything acknowledged by the broker is in the file sink's folder, and that repeats are bounded."""
    found = arrivals(folder)
    missing = found.missing_from(report.acknowledged_numbers())
    assert missing == {}, f"{sum(map(len, missing.values()))} of {report.acknowledged} are missing: {missing}"
    assert found.duplicates <= repeats, f"{found.duplicates} repeats, at most {repeats} were in flight"
    return found


async def spool_is_sound(folder: Path) -> None:
    """Verify the spool of a stopped router."""
    async with open_spool(SpoolConfig(path=folder)) as spool:
        found = await spool.tools.verify()
    assert found.problems == (), found
