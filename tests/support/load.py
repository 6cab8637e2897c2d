"""A load generator in a separate process, which records exactly the messages that the broker has acknowledged."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PROCESS = Path(__file__).with_name("load_process.py")


def topics(count: int = 50, prefix: str = "sensors") -> tuple[str, ...]:
    """`sensors/000/value`, `sensors/001/value`, ..."""
    return tuple(f"{prefix}/{number:03}/value" for number in range(count))


@dataclass(frozen=True, slots=True)
class Plan:
    """Messages to publish. Ends after `messages` or `seconds`, whichever comes first; with neither, when it is stopped."""

    port: int
    host: str = "127.0.0.1"
    topics: tuple[str, ...] = field(default_factory=topics)
    messages: int | None = None
    seconds: float | None = None
    rate: float | None = None
    """Messages per second; as fast as the broker accepts if `None`."""
    qos: int = 1
    """0 or 1."""
    window: int = 1000
    """Most unacknowledged messages."""
    payload_bytes: int = 200
    """Each payload is JSON: `n`, the running number of its topic from 1; `t`, nanoseconds since 1970 when sent; `x`, filler.
    Below 47 bytes there is room for filler only."""
    characters: str = "0123456789"
    """Characters of the filler, picked at random. Digits compress to less than half, 64 characters to three quarters."""
    drain_seconds: float = 30.0
    """Longest time to wait at the end for the last acknowledgements."""
    client_id: str = "load"


@dataclass(frozen=True, slots=True)
class Report:
    """Messages published, and their outcome."""

    plan: Plan
    sent: int
    acknowledged_ranges: tuple[tuple[int, int], ...]
    unknown_ranges: tuple[tuple[int, int], ...]
    """In flight when a connection was lost: the broker may have them or not; they were not sent again."""
    connections: int
    started_at: float
    """Start of publishing, in seconds since 1970."""
    seconds: float

    @property
    def acknowledged(self) -> int:
        """Number of messages that the broker has acknowledged (QoS 1)."""
        return sum(last - first + 1 for first, last in self.acknowledged_ranges)

    @property
    def rate(self) -> float:
        """Messages sent per second."""
        return self.sent / self.seconds

    def acknowledged_numbers(self) -> dict[str, set[int]]:
        """Return the running numbers that the broker has acknowledged, by topic."""
        return self._numbers(self.acknowledged_ranges)

    def sent_numbers(self) -> dict[str, set[int]]:
        """Return the running numbers that were sent, by topic."""
        return self._numbers(((0, self.sent - 1),) if self.sent else ())

    def _numbers(self, ranges: tuple[tuple[int, int], ...]) -> dict[str, set[int]]:
        count = len(self.plan.topics)
        numbers: dict[str, set[int]] = {topic: set() for topic in self.plan.topics}
        for index in _indexes(ranges):
            numbers[self.plan.topics[index % count]].add(index // count + 1)
        return numbers


def _indexes(ranges: tuple[tuple[int, int], ...]) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


class Load:
    """A running load generator; created by `load`."""

    def __init__(self, plan: Plan, process: asyncio.subprocess.Process) -> None:
        self._plan = plan
        self._process = process
        self._changed = asyncio.Condition()
        self._over = False
        self.sent = 0
        self.acknowledged = 0
        self.report: Report | None = None

    async def read(self) -> None:
        """Read the reports of the process."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said: dict[str, Any] = json.loads(line)
            async with self._changed:
                if "report" in said:
                    self._take(said["report"])
                else:
                    self.sent, self.acknowledged = said["sent"], said["acknowledged"]
                self._changed.notify_all()
        async with self._changed:
            self._over = True
            self._changed.notify_all()

    def _take(self, said: dict[str, Any]) -> None:
        self.report = Report(
            plan=self._plan,
            sent=said["sent"],
            acknowledged_ranges=tuple((first, last) for first, last in said["acknowledged"]),
            unknown_ranges=tuple((first, last) for first, last in said["unknown"]),
            connections=said["connections"],
            started_at=said["started_at"],
            seconds=said["seconds"],
        )
        self.sent, self.acknowledged = self.report.sent, self.report.acknowledged

    async def at_least(self, acknowledged: int, timeout: float = 60) -> None:  # noqa: ASYNC109  (a bound for tests, said at the call)
        """Wait until the broker has acknowledged that many messages.

        Raises:
            TimeoutError: it took longer.
            RuntimeError: the load generator ended with fewer.
        """
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: self.acknowledged >= acknowledged or self._over)
        if self.acknowledged < acknowledged:
            raise RuntimeError(f"the load generator ended after {self.acknowledged} acknowledgements")

    async def finish(self, timeout: float = 120) -> Report:  # noqa: ASYNC109  (a bound for tests, said at the call)
        """Wait until the plan is done.

        Raises:
            TimeoutError: it took longer.
            RuntimeError: the load generator ended without a report.
        """
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: self.report is not None or self._over)
        if self.report is None:
            raise RuntimeError("the load generator ended without a report")
        return self.report

    async def stop(self, timeout: float = 60) -> Report:  # noqa: ASYNC109  (a bound for tests, said at the call)
        """Stop publishing, wait for the last acknowledgements, report."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return await self.finish(timeout)


@asynccontextmanager
async def load(plan: Plan) -> AsyncIterator[Load]:
    """Start publishing; the process ends when the block exits."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    # the topics may be too many for an argument
    process.stdin.write(json.dumps(asdict(plan)).encode() + b"\n")
    running = Load(plan, process)
    reader = asyncio.create_task(running.read(), name="load generator")
    try:
        yield running
    finally:
        # a process that has reported exits by itself; asyncio warns when an exiting process is killed
        if running.report is None and process.returncode is None:
            process.kill()
        await reader
        await process.wait()
