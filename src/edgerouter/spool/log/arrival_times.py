"""Times of receipt that rise within a spool, so that no two of its messages share one.

A source stamps all messages of one read with one time. A service that identifies a point by its time would keep only the
last of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

STEP: Final = 1_000
"""Least distance between two messages, ns: formats and services that keep microseconds must be able to distinguish them."""
SET_BACK: Final = 60_000_000_000
"""A wall clock that falls behind by more than this was corrected, ns: its new time is used. Less is jitter and is smoothed."""


def rising(times: Sequence[int], after: int) -> list[int]:
    """Move each time to at least one `STEP` behind the one before it.

    Args:
        times: when messages were received, in the order of their sequences, ns.
        after: the time of the message before them; 0 = there is none.
    """
    risen: list[int] = []
    earliest = after + STEP
    count = len(times)
    # a bisection finds the end of a read, five times faster than a look at each message; times of several sources may cross
    in_order = sorted(times) == times
    at = 0
    while at < count:
        time = times[at]
        end = at + 1
        if in_order and end < count and times[end] == time:
            end = bisect_right(times, time, end)
        start = time if time >= earliest or earliest - time > SET_BACK else earliest
        earliest = start + (end - at) * STEP
        if end - at == 1:
            risen.append(start)
        else:
            risen += range(start, earliest, STEP)
        at = end
    return risen
