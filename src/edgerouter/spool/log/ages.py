"""Ages: when pending messages were received, as far as that was read anyhow."""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import Final

from edgerouter.spool.log.position import OPEN

_MOST: Final = 1000


class Ages:
    """Times of receipt by sequence; each holds up to the next one."""

    def __init__(self) -> None:
        self._ages: list[tuple[int, int]] = []

    def note(self, sequence: int, received_at: int, oldest: int) -> None:
        """Note when a message was received, ns; forget what lies before the oldest pending sequence."""
        ages = self._ages
        while len(ages) > 1 and ages[1][0] <= oldest:
            del ages[0]
        if len(ages) < _MOST:
            insort(ages, (sequence, received_at))

    def of(self, sequence: int) -> int | None:
        """Return about when the message was received, ns; `None` where nothing was noted."""
        place = bisect_right(self._ages, (sequence, OPEN)) - 1
        return self._ages[place][1] if place >= 0 else None
