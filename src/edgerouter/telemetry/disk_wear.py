"""Bytes that the process has the kernel write to disks, and a forecast of a year: flash wears out by them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

_IO: Final = Path("/proc/self/io")
_YEAR: Final = 365.25 * 86_400
_WINDOW: Final = 3600.0
"""Seconds of the past whose rate is the present one."""
_STEP: Final = 60.0
"""Least seconds between two samples that are kept, and before a rate is worth a forecast."""


class DiskWear(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes written."""

    written_bytes: int | None = None
    """Since the start, of the spool, files of sinks and everything else; null where the kernel does not count them."""
    bytes_a_year: float | None = None
    """At the rate of the last hour; null in the first minute."""


def _written(io: Path = _IO) -> int | None:
    """Return the bytes that the kernel has counted for this process."""
    try:
        fields = dict(line.split(": ") for line in io.read_text().splitlines())
        return int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])
    except (OSError, ValueError, KeyError):
        return None


class DiskMeter:
    """Samples the bytes whenever the status is asked for; nothing runs in between.

    Args:
        written: returns the bytes so far.
        clock: monotonic seconds.
    """

    def __init__(self, written: Callable[[], int | None] = _written, clock: Callable[[], float] = time.monotonic) -> None:
        self._written, self._clock = written, clock
        self._samples: deque[tuple[float, int]] = deque(maxlen=round(_WINDOW / _STEP) + 2)
        self._first = written() or 0
        self._samples.append((clock(), self._first))

    @property
    def status(self) -> DiskWear:
        """Bytes until now, and the forecast."""
        written, now, samples = self._written(), self._clock(), self._samples
        if written is None:
            return DiskWear()
        while len(samples) > 1 and now - samples[1][0] >= _WINDOW:
            samples.popleft()
        since, before = samples[0]
        if now - samples[-1][0] >= _STEP:
            samples.append((now, written))
        rate = (written - before) / (now - since) if now - since >= _STEP else None
        return DiskWear(written_bytes=max(0, written - self._first), bytes_a_year=None if rate is None else max(0.0, rate * _YEAR))
