"""Routing: which sinks want a topic, looked up once a topic and then remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from sys import getsizeof
from typing import Final

from edgerouter.message import Message
from edgerouter.topic_cache import TopicCache

_TOPIC = attrgetter("topic")


REMEMBERED_BYTES: Final = 16 * 1024**2
"""About 80,000 topics."""
_SHARED_SETS: Final = 1000
"""Sets of sinks that topics share."""


class Routing:
    """Counts how many messages of a delivery each sink wants. Replaced as a whole when the configuration changes.

    Args:
        matchers: sink name -> whether it wants a topic.
    """

    def __init__(self, matchers: Mapping[str, Callable[[str], bool]]) -> None:
        sets: dict[tuple[str, ...], tuple[str, ...]] = {}

        def sinks_of(topic: str) -> tuple[str, ...]:
            sinks = tuple([name for name, matches in matchers.items() if matches(topic)])
            # topics share few tuples, so that an entry costs its topic alone; a sink per device would make many
            return sets.setdefault(sinks, sinks) if len(sets) < _SHARED_SETS else sinks

        self._sinks_of_topic = TopicCache(
            sinks_of,
            most_bytes=REMEMBERED_BYTES,
            weigh=lambda topic, sinks: getsizeof(topic) + (0 if sets.get(sinks) is sinks else getsizeof(sinks)),
        )

    def wanted(self, messages: Sequence[Message]) -> dict[str, int]:
        """Sink name -> number of these messages that it wants; sinks that want none are left out."""
        # the loop over messages runs in C: map, dict lookup, count
        routes = list(map(self._sinks_of_topic.__getitem__, map(_TOPIC, messages)))
        wanted: dict[str, int] = {}
        if routes and routes.count(routes[0]) == len(routes):
            return dict.fromkeys(routes[0], len(routes))
        for sinks, count in Counter(routes).items():
            for sink in sinks:
                wanted[sink] = wanted.get(sink, 0) + count
        return wanted
