"""CPU time of a thread and its waits for a CPU, as counted by the kernel; and what they say of the GIL."""

from __future__ import annotations

import sys
from typing import Final, NamedTuple, Self

_RELEASED_SHARE: Final = 1.5
"""Wake-ups for each switch interval, above which the GIL must have been released in between."""


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


def native_hold(late: float, turns: int) -> float:
    """Return for how long native code may have held the GIL.

    Args:
        late: seconds for which a thread wanted the GIL, without its waits for a CPU.
        turns: number of times it was scheduled meanwhile.
    """
    # A thread that waits for the GIL wakes up at every switch interval, and whenever the GIL is released. A stalled machine, such
    # as a virtual one whose host is overloaded, wakes no thread, yet its kernel counts the time as CPU time. A loop of many short
    # turns releases the GIL more often than that, each time too briefly for the waiting thread.
    by_interval = sys.getswitchinterval() * turns
    return 0.0 if by_interval > _RELEASED_SHARE * late else min(late, 2 * by_interval)
