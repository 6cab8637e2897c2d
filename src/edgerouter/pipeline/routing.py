"""Routing: which sinks want a topic, looked up once a topic and then remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

from edgerouter.message import Message

_TOPIC = attrgetter("topic")


class _SinksOfTopic(dict[str, tuple[str, ...]]):
    """topic -> names of the sinks that want it; filled on first sight, emptied when it would grow without bound."""

    MOST_TOPICS = 100_000

    def __init__(self, matchers: Mapping[str, Callable[[str], bool]]) -> None:
        super().__init__()
        self._matchers = matchers

    def __missing__(self, topic: str) -> tuple[str, ...]:
        if len(self) >= self.MOST_TOPICS:
            self.clear()
        sinks = self[topic] = tuple(name for name, matches in self._matchers.items() if matches(topic))
        return sinks


class Routing:
    """Counts how many messages of a delivery each sink wants. Replaced as a whole when the configuration changes.

    Args:
        matchers: sink name -> whether it wants a topic.
    """

    def __init__(self, matchers: Mapping[str, Callable[[str], bool]]) -> None:
        self._sinks_of_topic = _SinksOfTopic(matchers)

    def wanted(self, messages: Sequence[Message]) -> dict[str, int]:
        """Sink name -> number of these messages that it wants; sinks that want none are left out."""
        wanted: dict[str, int] = {}
        # the loop over messages runs in C: map, dict lookup, Counter
        for sinks, count in Counter(map(self._sinks_of_topic.__getitem__, map(_TOPIC, messages))).items():
            for sink in sinks:
                wanted[sink] = wanted.get(sink, 0) + count
        return wanted
