"""Routers that share a subscription and nothing else, each with its own spool and its own file sink."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.arrivals import Arrivals, arrivals
from support.command import edgerouter
from support.load import Report
from support.router import RouterProcess, router


@dataclass(frozen=True, slots=True)
class Sum:
    """Comparison of what was sent with what all routers delivered."""

    missing: int
    repeats: int
    """Messages of which several routers, or one router twice, stored a copy: each copy has its own id."""
    written_again: int
    """Lines in excess of the ids: a sink wrote a batch again after a crash."""
    shared_ids: int
    """Ids that several routers used: must be 0."""
    distinct_ids: int
    ledger: dict[str, int]
    by_router: tuple[int, ...]
    """Messages that each router stored."""


class Fleet:
    """N routers behind one shared subscription; created by `fleet`."""

    def __init__(self, routers: Sequence[RouterProcess]) -> None:
        self.routers = routers

    async def start(self) -> None:
        """Start all of them."""
        for each in self.routers:
            await each.start()

    async def drain(self, number: int, *options: str) -> None:
        """Drain a router as `preStop` of its pod does; it ends."""
        each = self.routers[number]
        await edgerouter("drain", *options, "--spool", each.spool)
        assert await each.wait() == 0

    async def roll(self, *numbers: int) -> None:
        """Restart one router after the other, each after a drain."""
        for number in numbers:
            await self.drain(number)
            await self.routers[number].start()

    async def status(self) -> dict[str, Any]:
        """Return the answer of `edgerouter status --all --json`."""
        found: dict[str, Any] = json.loads(
            await edgerouter("status", "--all", "--json", "--wait", "30", *(each.spool for each in self.routers))
        )
        return found

    def arrivals(self) -> list[Arrivals]:
        """Return what each router's sink has written."""
        return [arrivals(each.folder / "files") for each in self.routers]

    async def quiet(self, report: Report, seconds: float = 120) -> Sum:
        """Wait until everything that the broker acknowledged has arrived, and return the sum.

        Raises:
            TimeoutError: something is missing.
        """
        async with asyncio.timeout(seconds):
            while True:
                status = await self.status()
                found = self._sum(report, status)
                if not found.missing and not found.ledger["pending"]:
                    return found
                await asyncio.sleep(0.5)

    def _sum(self, report: Report, status: dict[str, Any]) -> Sum:
        each = self.arrivals()
        together = Arrivals()
        for found in each:
            together.ids += found.ids
            for topic, numbers in found.numbers.items():
                together.numbers.setdefault(topic, Counter()).update(numbers)
        missing = together.missing_from(report.acknowledged_numbers())
        users = Counter(identity for found in each for identity in found.ids)
        return Sum(
            missing=sum(map(len, missing.values())),
            repeats=together.stored_again,
            written_again=together.count - len(together.ids),
            shared_ids=sum(count > 1 for count in users.values()),
            distinct_ids=len(together.ids),
            ledger=status["sum"],
            by_router=tuple(row["ledger"]["matched"] for row in status["routers"]),
        )


@asynccontextmanager
async def fleet(folder: Path, url: str, count: int = 3, **source: Any) -> AsyncIterator[Fleet]:
    """Yield routers that are not started yet."""
    async with AsyncExitStack() as stack:
        routers = []
        for number in range(count):
            here = folder / f"router-{number}"
            here.mkdir(parents=True, exist_ok=True)
            config: dict[str, Any] = {
                "sources": {
                    "shared": {
                        "type": "mqtt", "url": url, "topics": ["sensors/#"], "share": "fleet", "protocol": "5",
                        "session_expiry": "never", "client_id": f"router-{number}",
                        "reconnect": {"first_delay": "100ms", "max_delay": "1s"},
                    }
                    | source
                },
                "sinks": {"files": {"type": "file", "path": str(here / "files"), "batch": {"linger": "10ms"}}},
            }  # fmt: skip
            routers.append(await stack.enter_async_context(router(here, config)))
        yield Fleet(routers)
