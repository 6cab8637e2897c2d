"""The promise, as an assertion: what the broker acknowledged is there, repeats are bounded, and every ledger adds up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgerouter.config.model import SpoolConfig
from edgerouter.spool import open_spool
from support.arrivals import Arrivals, arrivals
from support.load import Report


def ledgers_hold(status: dict[str, Any]) -> None:
    """`matched = delivered + dead_lettered + dropped + pending` for every sink, and nothing below zero."""
    for name, sink in status["sinks"].items():
        settled = sink["delivered"] + sink["dead_lettered"] + sink["dropped"]
        assert sink["matched"] == settled + sink["pending"], (name, sink)
        assert min(sink[field] for field in ("matched", "delivered", "dead_lettered", "dropped", "pending")) >= 0, (name, sink)


def nothing_is_missing(folder: Path, report: Report, *, repeats: int) -> Arrivals:
    """Everything that the broker acknowledged is in the file sink's folder, and repeated at most so often."""
    found = arrivals(folder)
    missing = found.missing_from(report.acknowledged_numbers())
    assert missing == {}, f"{sum(map(len, missing.values()))} of {report.acknowledged} are missing: {missing}"
    assert found.duplicates <= repeats, f"{found.duplicates} repeats, at most {repeats} were in flight"
    return found


async def spool_is_sound(folder: Path) -> None:
    """The spool of a stopped router has nothing to complain of."""
    async with open_spool(SpoolConfig(path=folder)) as spool:
        found = await spool.tools.verify()
    assert found.problems == (), found
