"""Resource use of a process: CPU, memory and disk, read from /proc (Linux)."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources used by a process since its start; subtract two for an interval."""

    cpu_seconds: float
    """User and system time of all its threads, including ended ones; in steps of 10 ms."""
    peak_rss_bytes: int
    rss_bytes: int
    disk_bytes: int
    """Bytes that the process caused to be written to storage, in pages, including some that were truncated later."""
    written_bytes: int
    """Bytes passed to write calls: files, sockets, pipes."""
    wakeups: int
    """Times that one of its present threads waited and went on."""

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(
            cpu_seconds=self.cpu_seconds - earlier.cpu_seconds,
            peak_rss_bytes=self.peak_rss_bytes,
            rss_bytes=self.rss_bytes,
            disk_bytes=self.disk_bytes - earlier.disk_bytes,
            written_bytes=self.written_bytes - earlier.written_bytes,
            wakeups=self.wakeups - earlier.wakeups,
        )


def usage(pid: int) -> Usage:
    """Measure the process now.

    Raises:
        FileNotFoundError: there is no such process.
    """
    folder = Path(f"/proc/{pid}")
    # the second field is the program's name in brackets and may contain spaces
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    status = _table(folder / "status")
    disk = _table(folder / "io")
    return Usage(
        cpu_seconds=(int(fields[11]) + int(fields[12])) * TICK,
        peak_rss_bytes=int(status["VmHWM"].split()[0]) * 1024,
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        disk_bytes=int(disk["write_bytes"]),
        written_bytes=int(disk["wchar"]),
        wakeups=_wakeups(folder / "task"),
    )


def _wakeups(threads: Path) -> int:
    count = 0
    for thread in threads.iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            count += int(_table(thread / "status")["voluntary_ctxt_switches"])
    return count


def _table(path: Path) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in path.read_text().splitlines())}
