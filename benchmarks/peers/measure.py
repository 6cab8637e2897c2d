"""Measurements of one peer: full load, a moderate rate, kills in the middle of load, and an outage of its destination."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.peers.arrived import CHARACTERS, PAYLOAD_BYTES
from benchmarks.peers.peer import Destination, Peer
from benchmarks.peers.running import Running, running
from benchmarks.workspace import workspace

from support.load import Plan, Report, load

ONE_TOPIC = ("sensors/000/value",)
"""Topic of the runs that count losses: a number in a payload then identifies the message."""
CALM_RATE = 1000.0
KILL_MESSAGES = 20_000
KILLS = 3
MOST_BETWEEN_KILLS = 10.0
"""Seconds; a slow peer is killed although it has done less than its part."""
OUTAGE_RATE = 200.0
QUIET = 5.0
"""Seconds without a new message after which the rest counts as lost."""
QUIET_AFTER_RETURN = 12.0
"""The same, after the last start of a killed peer, or the return of its destination."""


@dataclass(frozen=True, slots=True)
class FullLoad:
    """Publishing as fast as the broker accepts."""

    messages_a_second: float
    cpu_us_a_message: float
    peak_rss_bytes: int
    written_a_payload_byte: float
    """Bytes that the process caused to be written to storage for each byte of payload."""
    start_seconds: float


@dataclass(frozen=True, slots=True)
class Calm:
    """Publishing at a moderate rate."""

    share: float
    """Messages that arrived, of those published."""
    cpu_percent: float
    """Percentage of a core at this rate, from the CPU of each message that arrived; above 100 for a peer that falls behind."""
    rss_bytes: int
    p50_ms: float
    """From publish to file: from the load generator's time in the payload until the message is seen in the file."""
    p99_ms: float
    written_a_payload_byte: float
    start_seconds: float


@dataclass(frozen=True, slots=True)
class Losses:
    """Fate of the messages that the broker acknowledged to the publisher."""

    acknowledged: int
    lost: int
    """Never arrived."""
    again: int
    """Arrivals in excess of one for each message."""


@dataclass(frozen=True, slots=True)
class Killed(Losses):
    """The peer was killed while messages flowed."""


@dataclass(frozen=True, slots=True)
class Outage(Losses):
    """The destination was away while messages flowed."""

    back_after_seconds: float | None = None
    """From the return of the destination to the first arrival; `None` if none came."""


Measurement = FullLoad | Calm | Killed | Outage


@asynccontextmanager
async def _at_work(peer: Peer, destination: Destination, folder: Path) -> AsyncIterator[Running]:
    with workspace(folder) as path:
        async with running(peer, destination, path) as subject:
            yield subject


async def full_load(peer: Peer, destination: Destination, seconds: float, folder: Path) -> FullLoad:
    """Publish for some seconds; a peer that is slower gets as long again to catch up."""
    async with _at_work(peer, destination, folder) as subject:
        output, before = subject.output, subject.usage()
        lines = output.lines
        async with load(_plan(subject, seconds=seconds)) as publishing:
            report = await publishing.finish()
            await output.ages_until(lines + report.sent, quiet=QUIET, most=seconds)
            ended = time.time()
        used = subject.usage() - before
    messages = output.lines - lines
    if not messages:
        raise TimeoutError("nothing arrived")
    return FullLoad(
        messages_a_second=messages / (ended - report.started_at),
        cpu_us_a_message=used.cpu_seconds / messages * 1e6,
        peak_rss_bytes=used.peak_rss_bytes,
        written_a_payload_byte=used.disk_bytes / messages / PAYLOAD_BYTES,
        start_seconds=subject.start_seconds,
    )


async def calm(peer: Peer, destination: Destination, seconds: float, folder: Path) -> Calm:
    """Publish at 1,000 messages/s."""
    messages = int(CALM_RATE * seconds)
    async with _at_work(peer, destination, folder) as subject:
        before, lines = subject.usage(), subject.output.lines
        async with load(_plan(subject, messages=messages, rate=CALM_RATE)) as publishing:
            ages = await subject.output.ages_until(lines + messages, quiet=QUIET, most=2 * seconds + QUIET)
            await publishing.finish()
        used = subject.usage() - before
    if len(ages) < 2:
        raise TimeoutError("nothing arrived")
    hundredths = statistics.quantiles(ages, n=100)
    return Calm(
        share=len(ages) / messages,
        cpu_percent=used.cpu_seconds / len(ages) * CALM_RATE * 100,
        rss_bytes=used.rss_bytes,
        p50_ms=hundredths[49] * 1e3,
        p99_ms=hundredths[98] * 1e3,
        written_a_payload_byte=used.disk_bytes / messages / PAYLOAD_BYTES,
        start_seconds=subject.start_seconds,
    )


async def killed(peer: Peer, folder: Path) -> Killed:
    """Kill the peer with SIGKILL and start it again, several times while it works at full load; then let it finish."""
    async with _at_work(peer, "file", folder) as subject:
        first = subject.output.lines
        async with load(_plan(subject, topics=ONE_TOPIC, messages=KILL_MESSAGES)) as publishing:
            for number in range(1, KILLS + 1):
                due = first + number * KILL_MESSAGES // (KILLS + 1)
                await subject.output.ages_until(due, quiet=QUIET, most=MOST_BETWEEN_KILLS)
                await subject.end()
                await subject.start()
            report = await publishing.finish()
        return Killed(*_counts(report, await _settled(subject, report)))


async def outage(peer: Peer, seconds: float, folder: Path) -> Outage:
    """Kill the HTTP service that the peer sends to, and start it again after a while."""
    async with _at_work(peer, "http", folder) as subject:
        receiver = subject.receiver
        assert receiver is not None
        async with load(_plan(subject, topics=ONE_TOPIC, rate=OUTAGE_RATE)) as publishing:
            await publishing.at_least(int(OUTAGE_RATE))
            await receiver.kill()
            await asyncio.sleep(seconds)
            subject.output.read()
            lines = subject.output.lines
            await receiver.start()
            back = await _first_after(subject, lines)
            report = await publishing.stop()
        counts = _counts(report, await _settled(subject, report))
        return Outage(*counts, back)


async def _first_after(subject: Running, lines: int) -> float | None:
    """Wait for a message beyond that many; return the seconds that it took, `None` if none came."""
    began = time.time()
    try:
        return await subject.output.until(lines + 1, QUIET_AFTER_RETURN) - began
    except TimeoutError:
        return None


async def _settled(subject: Running, report: Report) -> Counter[int]:
    """Wait until every acknowledged message has arrived, or none did for a while; return the arrivals of each number."""
    expected = _expected(report)
    last, counted = time.monotonic(), subject.arrived()
    while not expected <= counted.keys() and time.monotonic() - last < QUIET_AFTER_RETURN:
        await asyncio.sleep(0.2)
        before, counted = counted, subject.arrived()
        if counted.total() > before.total():
            last = time.monotonic()
    return counted


def _expected(report: Report) -> set[int]:
    [numbers] = report.acknowledged_numbers().values()
    return numbers


def _counts(report: Report, counted: Counter[int]) -> tuple[int, int, int]:
    """Return the numbers of messages acknowledged, lost and arrived again."""
    return report.acknowledged, len(_expected(report) - counted.keys()), counted.total() - len(counted)


def _plan(
    subject: Running,
    *,
    messages: int | None = None,
    seconds: float | None = None,
    rate: float | None = None,
    topics: tuple[str, ...] | None = None,
) -> Plan:
    plan = Plan(subject.port, messages=messages, seconds=seconds, rate=rate, payload_bytes=PAYLOAD_BYTES, characters=CHARACTERS)
    return plan if topics is None else replace(plan, topics=topics)
