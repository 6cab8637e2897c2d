"""Durations counted in buckets, for metrics: one addition for each commit or sample, never for each message."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import msgspec


class Histogram(msgspec.Struct):
    """Numbers of durations between bounds, and their sum."""

    bounds: tuple[float, ...]
    """Highest duration of each bucket in seconds; one more bucket has no bound."""
    counts: list[int]
    total: float = 0.0
    """Seconds."""

    @classmethod
    def of(cls, bounds: Sequence[float]) -> Histogram:
        """Return an empty one."""
        return cls(tuple(bounds), [0] * (len(bounds) + 1))

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds
