"""Latest value of each topic at each broker, bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgerouter_cloudsync.progress import OVERHEAD
from edgerouter_cloudsync.subscriptions.store import Latest

Key = tuple[str, str]
"""Broker and topic."""


class Values:
    """Holds values in the order in which they arrived; beyond the bound the oldest go.

    Args:
        most_bytes: bound of topics and payloads together.
        kept: values of an earlier run, in their order.
    """

    def __init__(self, most_bytes: int, kept: Iterable[Latest]) -> None:
        self.changed: set[Key] = set()
        """Values that the disk does not have yet, or should have no longer."""
        self._most_bytes = most_bytes
        self._values: dict[Key, Latest] = {}
        self._bytes = 0
        self._place = 0
        for latest in kept:
            self._put(latest)

    def put(self, url: str, topic: str, payload: bytes) -> None:
        """Take the latest value of a topic."""
        self._place += 1
        self._put(Latest(url, topic, payload, self._place))
        self.changed.add((url, topic))

    def exact(self, url: str, topic: str) -> Latest | None:
        """Return the latest value of one topic."""
        return self._values.get((url, topic))

    def newest(self, url: str, matches: Callable[[str], bool]) -> Latest | None:
        """Return the latest of all values of the topics that match."""
        for (broker, topic), latest in reversed(self._values.items()):
            if broker == url and matches(topic):
                return latest
        return None

    def drop(self, url: str, unwanted: Callable[[str], bool]) -> None:
        """Forget the values of topics that no one wants any more."""
        for key in [key for key in self._values if key[0] == url and unwanted(key[1])]:
            self._pop(key)
            self.changed.add(key)

    def take_changed(self) -> tuple[list[Latest], list[Key]]:
        """Return changed values, and those that are gone, to be written."""
        changed, self.changed = self.changed, set()
        return [self._values[key] for key in changed if key in self._values], [key for key in changed if key not in self._values]

    def _put(self, latest: Latest) -> None:
        key = (latest.url, latest.topic)
        if key in self._values:
            self._pop(key)
        self._place = max(self._place, latest.place)
        self._values[key] = latest
        self._bytes += _weight(latest)
        while self._bytes > self._most_bytes:
            oldest = next(iter(self._values))
            self._pop(oldest)
            self.changed.add(oldest)

    def _pop(self, key: Key) -> None:
        self._bytes -= _weight(self._values.pop(key))


def _weight(latest: Latest) -> int:
    return len(latest.payload) + 4 * len(latest.topic) + len(latest.url) + OVERHEAD
