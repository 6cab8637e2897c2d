"""Looks at the limits of the router's process: memory, processor time and file descriptors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from edgerouter.config.model import RouterConfig
from edgerouter.doctor.finding import Finding, finding
from edgerouter.doctor.machine.process import Measured
from edgerouter.memory import usable_memory

MEMORY: Final = "memory"
CPU: Final = "cpu"
FILES: Final = "files"
_CGROUPS: Final = Path("/sys/fs/cgroup")
_BASE: Final = 96 * 1024**2
"""Bytes of a router without messages, its plugins included."""
_READ_AHEAD: Final = 3
"""Unacknowledged bytes of a source: those in flight, and twice as many read ahead."""
_LITTLE: Final = 0.25
_FEW_FILES: Final = 256
_OPEN_FILES: Final = re.compile(r"^Max open files\s+(\w+)\s+(\w+)", re.MULTILINE)
_MB: Final = 1024**2


def memory(config: RouterConfig | None, process: Measured, cgroups: Path = _CGROUPS) -> list[Finding]:
    """Compare the memory that the process may use with the bounds of the configuration."""
    usable = usable_memory(cgroups, process.folder / "cgroup")
    text = f"{usable / _MB:.0f} MiB usable by {process.name}"
    found = []
    needed = 0 if config is None else bound(config)
    if needed > usable:
        found.append(
            finding(
                MEMORY,
                "limit",
                "warn",
                f"{text}; the bounds of the configuration add up to {needed / _MB:.0f} MiB",
                "lower `spool.cache_bytes`, `batch.max_buffered_bytes` and `max_unacknowledged_bytes`, or raise the limit",
            )
        )
    else:
        bounds = f"; the bounds of the configuration add up to {needed / _MB:.0f} MiB" if needed else ""
        found.append(finding(MEMORY, "limit", "ok", text + bounds))
    killed = sum(int(number) for file in _files(process, cgroups, "memory.events") for number in _counted(file, "oom_kill"))
    if killed:
        found.append(
            finding(
                MEMORY,
                "killed",
                "warn",
                f"the kernel has ended {killed} processes of this control group for want of memory",
                "raise its memory limit, or lower the bounds of the configuration",
            )
        )
    return found


def bound(config: RouterConfig) -> int:
    """Return the bytes that the configured bounds allow altogether, with those of the program itself."""
    spool = config.spool
    total = _BASE + spool.cache_bytes + (spool.max_bytes if spool.type == "memory" else 0)
    for source in config.sources:
        settings: Any = source.config
        total += _READ_AHEAD * getattr(settings, "max_unacknowledged_bytes", 0) + getattr(settings, "max_pending_bytes", 0)
    for sink in config.sinks:
        batch = sink.policies.batch
        # a batch that is written exists beside those that fill, encoded as a request
        total += (
            min(batch.max_buffered_bytes, batch.max_bytes * batch.max_partitions) + 2 * sink.policies.concurrency * batch.max_bytes
        )
    return total


def cpu(process: Measured, cgroups: Path = _CGROUPS) -> list[Finding]:
    """Look at the processors and at the quota of the control group."""
    processors = len(os.sched_getaffinity(0))
    quotas = [quota for file in _files(process, cgroups, "cpu.max") for quota in _quota(file)]
    quotas += [quota for folder in _older(process, cgroups) for quota in _older_quota(folder)]
    if not quotas:
        return [finding(CPU, "quota", "ok", f"{processors} processors, no quota for {process.name}")]
    least = min(quotas)
    throttled = sum(int(number) for file in _files(process, cgroups, "cpu.stat") for number in _counted(file, "nr_throttled"))
    text = f"{least:.2f} of {processors} processors for {process.name}, throttled {throttled} times"
    if least >= _LITTLE:
        return [finding(CPU, "quota", "ok", text)]
    return [finding(CPU, "quota", "warn", text, "allow a quarter of a processor at least: acknowledgements wait for it")]


def files(config: RouterConfig | None, process: Measured) -> list[Finding]:
    """Look at the file descriptors that the process may open."""
    match = _OPEN_FILES.search(process.read("limits"))
    if match is None:
        return [finding(FILES, "limit", "unknown", f"the limits of {process.name} cannot be read")]
    hard = match[2]
    needed = _FEW_FILES + (0 if config is None else 8 * (len(config.sinks) + len(config.sources)))
    try:
        opened = f", {len(os.listdir(process.folder / 'fd'))} open"  # noqa: PTH208  (a listing of numbers, not of paths)
    except OSError:
        opened = ""
    text = f"{hard} at most for {process.name}{opened}"
    if hard.isdecimal() and int(hard) < needed:
        return [
            finding(
                FILES, "limit", "warn", text, f"allow {needed} at least: LimitNOFILE= of systemd, --ulimit nofile of a container"
            )
        ]
    return [finding(FILES, "limit", "ok", text)]


def _groups(process: Measured, controller: str) -> Iterator[PurePosixPath]:
    """Yield the process's control group and its parents: all of their limits apply."""
    for line in process.read("cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controller in controllers.split(",") or (not controllers and not controller):
            path = PurePosixPath(group.lstrip("/"))
            yield from (each for each in (path, *path.parents) if ".." not in each.parts)


def _files(process: Measured, cgroups: Path, name: str) -> Iterator[str]:
    for group in _groups(process, ""):
        try:
            yield (cgroups / group / name).read_text(encoding="ascii", errors="replace")
        except OSError:
            continue


def _counted(text: str, key: str) -> Iterator[str]:
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == key and number.isdecimal():
            yield number


def _quota(text: str) -> Iterator[float]:
    quota, _, period = text.strip().partition(" ")
    if quota.isdecimal() and period.isdecimal() and int(period):
        yield int(quota) / int(period)


def _older(process: Measured, cgroups: Path) -> Iterator[Path]:
    yield from (cgroups / "cpu" / group for group in _groups(process, "cpu"))


def _older_quota(folder: Path) -> Iterator[float]:
    try:
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii")) for name in ("quota", "period"))
    except (OSError, ValueError):
        return
    if quota > 0 and period > 0:
        yield quota / period
