"""Times of a thread as the kernel counts them: used on a processor, and waited for one."""

from __future__ import annotations

from typing import NamedTuple, Self


class ThreadTimes(NamedTuple):
    """Seconds since the thread began, and a number; all stay 0 where the kernel does not say."""

    cpu: float = 0.0
    delay: float = 0.0
    """Ready to run, and waiting for a processor: a busy machine's doing, not the thread's."""
    turns: int = 0
    """Times that it got a processor."""

    @classmethod
    def of(cls, native_id: int) -> Self:
        """Read the times of a thread of this process."""
        try:
            with open(f"/proc/self/task/{native_id}/schedstat", "rb", buffering=0) as file:  # noqa: PTH123  (read often)
                cpu, delay, turns = file.read().split()[:3]
        except (OSError, ValueError):
            return cls()
        return cls(int(cpu) / 1e9, int(delay) / 1e9, int(turns))
