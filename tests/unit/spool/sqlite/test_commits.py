"""When transactions start."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest

from edgerouter.spool.sqlite.commits import Commits

uvloop = pytest.importorskip("uvloop")


class Nothing:
    """Stands for the database thread and for who knows what to write: transactions are counted and never end."""

    def __init__(self) -> None:
        self.started = asyncio.Event()

    def admit(self, waiting: deque[Any]) -> list[Any]:
        return []

    def prepare(self, appends: list[Any]) -> Any:
        self.started.set()

    def write(self, transaction: Any) -> None:
        raise AssertionError("the thread is none, nobody writes")

    def submit(self, *_: object) -> None:
        pass


def test_a_transaction_that_is_due_almost_now_starts_however_often_that_is_said() -> None:
    """Uvloop gives a handle without its time for what is due in less than half a millisecond."""

    async def main() -> None:
        loop, nothing = asyncio.get_running_loop(), Nothing()
        commits = Commits(loop, nothing, nothing, 0.0003)  # type: ignore[arg-type]  # neither writes
        commits._last = loop.time()
        commits._dirty = True
        for _ in range(3):
            commits.begin()
        async with asyncio.timeout(10):
            await nothing.started.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
