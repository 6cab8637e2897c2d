"""The two measurements: maximum throughput, and latency at a moderate rate."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from pathlib import Path

from benchmarks.subjects import Name, subject
from benchmarks.workspace import workspace

from support.load import Plan, load
from support.process_meter import usage

PATIENCE = 30.0
"""Seconds without a new message after which a measurement has failed."""
_SETTLES = 5.0
"""Seconds after which a subject has nothing to do any more."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """One run at maximum speed."""

    subject: Name
    qos: int
    messages: int
    messages_a_second: float
    """From the first publish to the last message in the file."""
    cpu_us_a_message: float
    peak_rss_bytes: int
    disk_bytes_a_message: float
    """Bytes that the process caused to be written to storage."""
    file_bytes_a_message: float
    """Bytes of the output file among them."""


@dataclass(frozen=True, slots=True)
class Latency:
    """One run at a moderate rate."""

    subject: Name
    qos: int
    messages: int
    rate: float
    p50_ms: float
    """From publish to file: from the load generator's time in the payload until the message is seen in the file."""
    p99_ms: float
    cpu_us_a_message: float
    disk_bytes_a_payload_byte: float
    """Bytes that the process caused to be written to storage, the output file among them."""
    syncs_an_hour: float | None


@dataclass(frozen=True, slots=True)
class Idle:
    """A run without messages."""

    subject: Name
    qos: int
    wakeups_a_second: float
    """Of all threads together."""
    cpu_percent: float
    """Of one core."""
    rss_bytes: int


async def throughput(name: Name, qos: int, messages: int, folder: Path, *, older: Path | None = None) -> Throughput:
    """Publish as fast as the broker accepts and wait until everything is in the file.

    Raises:
        TimeoutError: messages are missing.
    """
    with workspace(folder) as path:
        async with subject(name, qos, path, older) as running:
            lines, size, before = running.output.lines, running.output.bytes, usage(running.pid)
            async with load(Plan(running.port, messages=messages, qos=qos)) as publishing:
                ended = await running.output.until(lines + messages, PATIENCE)
                report = await publishing.finish()
            used = usage(running.pid) - before
    return Throughput(
        subject=name,
        qos=qos,
        messages=messages,
        messages_a_second=messages / (ended - report.started_at),
        cpu_us_a_message=used.cpu_seconds / messages * 1e6,
        peak_rss_bytes=used.peak_rss_bytes,
        disk_bytes_a_message=used.disk_bytes / messages,
        file_bytes_a_message=(running.output.bytes - size) / messages,
    )


async def latency(name: Name, qos: int, rate: float, seconds: float, folder: Path, *, older: Path | None = None) -> Latency:
    """Publish at a rate and measure the age of each message when it appears in the file.

    Raises:
        TimeoutError: messages are missing.
    """
    messages = int(rate * seconds)
    with workspace(folder) as path:
        async with subject(name, qos, path, older) as running:
            lines, syncs, before = running.output.lines, await running.syncs(), usage(running.pid)
            plan = Plan(running.port, messages=messages, qos=qos, rate=rate)
            async with load(plan) as publishing:
                ages = await running.output.ages(lines + messages, PATIENCE)
                await publishing.finish()
            used = usage(running.pid) - before
            synced = None if syncs is None else (await running.syncs() or 0) - syncs
    hundredths = statistics.quantiles(ages, n=100)
    return Latency(
        subject=name,
        qos=qos,
        messages=messages,
        rate=rate,
        p50_ms=hundredths[49] * 1e3,
        p99_ms=hundredths[98] * 1e3,
        cpu_us_a_message=used.cpu_seconds / messages * 1e6,
        disk_bytes_a_payload_byte=used.disk_bytes / messages / plan.payload_bytes,
        syncs_an_hour=None if synced is None else synced / seconds * 3600,
    )


async def idle(name: Name, qos: int, seconds: float, folder: Path, *, older: Path | None = None) -> Idle:
    """Measure what a connected subject costs while nothing arrives."""
    with workspace(folder) as path:
        async with subject(name, qos, path, older) as running:
            await asyncio.sleep(_SETTLES)
            before = usage(running.pid)
            await asyncio.sleep(seconds)
            used = usage(running.pid) - before
    return Idle(
        subject=name,
        qos=qos,
        wakeups_a_second=used.wakeups / seconds,
        cpu_percent=used.cpu_seconds / seconds * 100,
        rss_bytes=used.rss_bytes,
    )
