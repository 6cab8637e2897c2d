"""Measures the disks of spool and sinks: time of an fsync, room, kind of file system, and wear of flash."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from edgerouter.config.model import RouterConfig, SpoolConfig
from edgerouter.doctor.finding import Finding, Verdict, finding
from edgerouter.doctor.in_thread import in_thread
from edgerouter.doctor.machine import block_device, mounts
from edgerouter.doctor.machine.wear import WORN
from edgerouter.folder import folders_of

SUBJECT: Final = "disk"
WRITES: Final = 50
_SECONDS: Final = 10.0
"""Time after which no other write is begun."""
_BOUND: Final = 30.0
_BLOCK: Final = b"edgerouter doctor" * 240
_SLOW: Final = 0.05
_VERY_SLOW: Final = 0.5
_FEW_INODES: Final = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that the configuration names."""

    owner: str
    folder: Path
    room: int = 0
    """Bytes that it may still grow by, with what is to stay free."""
    durable: bool = False
    """Holds the spool: it must survive a power cut."""


def places(config: RouterConfig) -> list[Place]:
    """Return the folders of the spool and of the sinks."""
    found = []
    spool = config.spool
    if spool.type != "memory":
        least = spool.min_free_bytes if isinstance(spool, SpoolConfig) else 0
        local = isinstance(spool, SpoolConfig)
        present = _size(spool.path) if local else 0
        room = max(0, spool.max_bytes - present) + least if local else 0
        found.append(Place("spool.path", spool.path, room, durable=local))
    for sink in config.sinks:
        found += [Place(f"sinks.{sink.name}.{field}", folder) for field, folder in folders_of(sink.config).items()]
    return found


async def examine(config: RouterConfig) -> list[Finding]:
    """Measure the disk below each folder, the fsync of each file system once and of the spool always."""
    found: list[Finding] = []
    seen: set[int] = set()
    for place in await asyncio.to_thread(places, config):
        try:
            device, findings = await in_thread(partial(_looked_at, place), _BOUND)
        except OSError as error:
            found.append(_unusable(place, error))
            continue
        if device not in seen or place.durable:
            found += findings
            found.append(await _timed(place))
        seen.add(device)
    return found


def _unusable(place: Place, error: OSError) -> Finding:
    reason = error.strerror or f"no answer within {_BOUND:g} s"
    return finding(SUBJECT, place.owner, "fail", f"{place.folder}: {reason}", "look at the path, its owner and its permissions")


def _looked_at(place: Place) -> tuple[int, list[Finding]]:
    folder = _existing(place.folder)
    device = folder.stat().st_dev
    return device, [_room(place, folder), *_kind(place, folder), *_flash(place, device)]


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    whole = folder.absolute()
    return next(path for path in (whole, *whole.parents) if path.is_dir())


def _size(folder: Path) -> int:
    total = 0
    with suppress(OSError):
        for each in folder.iterdir():
            with suppress(OSError):
                total += each.lstat().st_size
    return total


def _room(place: Place, folder: Path) -> Finding:
    name, free = f"{place.owner}: room", shutil.disk_usage(folder).free
    status = os.statvfs(folder)
    text = f"{free / 2**30:.1f} GiB free"
    if status.f_files and status.f_favail < _FEW_INODES:
        return finding(SUBJECT, name, "warn", f"{text}, but only {status.f_favail} inodes", "delete files, or make room for more")
    if free < place.room:
        return finding(
            SUBJECT,
            name,
            "warn",
            f"{text}; spool.max_bytes with min_free_bytes may take {place.room / 2**30:.1f} GiB more",
            "set a lower `spool.max_bytes`, or make room: the spool counts as full before it has reached its bound",
        )
    return finding(SUBJECT, name, "ok", text)


def _kind(place: Place, folder: Path) -> Iterator[Finding]:
    mount = mounts.mount_of(folder)
    name = f"{place.owner}: file system"
    if mount is None:
        yield finding(SUBJECT, name, "unknown", "the kernel's list of mounts does not hold it")
        return
    kind = mounts.KINDS.get(mount.kind.partition(".")[0] if mount.kind.startswith("fuse.") else mount.kind)
    text = f"{mount.kind} on {mount.place}"
    if kind is None:
        yield finding(SUBJECT, name, "ok", text)
        return
    verdict: Verdict = "ok" if not place.durable else "fail" if kind.volatile else "warn"
    yield finding(SUBJECT, name, verdict, f"{text}: {kind.reason}", kind.change if place.durable else "")


def _flash(place: Place, device: int) -> Iterator[Finding]:
    found = block_device.describe(device)
    if found is None:
        return
    yield finding(SUBJECT, f"{place.owner}: device", "ok", found.text)
    name, used, reason = f"{place.owner}: wear", found.wear.percent, found.wear.reason
    if used is None:
        if not found.rotates:
            yield finding(SUBJECT, name, "unknown", reason)
    elif used >= WORN:
        change = "replace it soon; raise `spool.commit_interval` to write less"
        yield finding(SUBJECT, name, "warn", f"{used} % of its life used at most", change)
    else:
        yield finding(SUBJECT, name, "ok", f"{used} % of its life used at most")


async def _timed(place: Place) -> Finding:
    """Time small writes, each followed by an fdatasync, as a commit of the spool does."""
    name = f"{place.owner}: fsync"
    try:
        times = await in_thread(partial(_write, _existing(place.folder)), _BOUND)
    except OSError as error:
        return _unusable(place, error)
    middle, slowest = statistics.median(times), sorted(times)[min(len(times) - 1, len(times) * 99 // 100)]
    text = f"{middle * 1000:.1f} ms (median), {slowest * 1000:.1f} ms (99 %) of {len(times)} writes of 4 KiB"
    if middle < _SLOW and slowest < _VERY_SLOW:
        return finding(SUBJECT, name, "ok", text)
    cost = f"{text}; a broker's window of 20 allows {20 / middle:.0f} messages/s" if place.durable else text
    return finding(
        SUBJECT,
        name,
        "warn",
        cost,
        "use a faster disk or card, raise `spool.commit_interval`, and see that nothing else writes to it",
    )


def _write(folder: Path) -> list[float]:
    times: list[float] = []
    with tempfile.TemporaryFile(prefix=".edgerouter-doctor-", dir=folder) as file:
        began = time.monotonic()
        while len(times) < WRITES and time.monotonic() - began < _SECONDS:
            os.write(file.fileno(), _BLOCK)
            before = time.monotonic()
            os.fdatasync(file.fileno())
            times.append(time.monotonic() - before)
    return times
