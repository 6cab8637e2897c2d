"""CPU time of a thread, and time spent waiting for a CPU, as counted by the kernel."""

from __future__ import annotations

from typing import NamedTuple, Self


class ThreadTimes(NamedTuple):
    """Seconds since the thread started, and a count; all stay 0 on kernels that do not report them."""

    cpu: float = 0.0
    delay: float = 0.0
    """Runnable, but waiting for a CPU: caused by a busy machine, not by the thread."""
    turns: int = 0
    """Number of times the thread was scheduled."""

    @classmethod
    def of(cls, native_id: int) -> Self:
        """Read the times of a thread of this process."""
        try:
            with open(f"/proc/self/task/{native_id}/schedstat", "rb", buffering=0) as file:  # noqa: PTH123  (read often)
                cpu, delay, turns = file.read().split()[:3]
        except (OSError, ValueError):
            return cls()
        return cls(int(cpu) / 1e9, int(delay) / 1e9, int(turns))
