"""Counts of dropped messages, bounded in number and in length of their labels."""

from __future__ import annotations

from collections import Counter
from typing import Final

from edgerouter.topics import first_level

MOST_DROPS: Final = 1000
"""Kinds of drops counted apart, by sink, first topic level and reason: they are held in memory, and each is a metric."""
OTHER_TOPICS: Final = "(other)"
"""Stands for all further first levels."""


class Drops(Counter[tuple[str, str, str]]):
    """Dropped messages by (sink, first topic level, reason)."""

    def count(self, sink: str, topics: Counter[str], reason: str) -> None:
        """Count dropped messages by topic; only the first level, so that the numbers stay few."""
        for topic, count in topics.items():
            key = (sink, first_level(topic), reason)
            if key not in self and len(self) >= MOST_DROPS:
                key = (sink, OTHER_TOPICS, reason)
            self[key] += count
