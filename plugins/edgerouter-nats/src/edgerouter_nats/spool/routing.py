"""The sinks that this router counts for while it appends, whichever router drains them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgerouter.spool.contract import Route
from edgerouter.spool.log.grouping import Append, Matchers
from edgerouter_nats.spool.names import digest_of, key_of


class Routing:
    """The configured sinks of this router."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self.version = 0
        """Changes with every sink that comes or goes: counts made before that do not hold."""
        self.digests: Mapping[int, int] = {}
        """Digest of the filters of each sink, by key."""
        self.matchers: Matchers = {}

    @property
    def sinks(self) -> tuple[str, ...]:
        """Names of the sinks."""
        return tuple(sorted(self._routes))

    def __contains__(self, sink: object) -> bool:
        return sink in self._routes

    def add(self, route: Route) -> None:
        """Count for a sink from now on."""
        self._routes[route.sink] = route
        self._changed()

    def remove(self, sink: str) -> None:
        """Count for a sink no more."""
        if self._routes.pop(sink, None) is not None:
            self._changed()

    def _changed(self) -> None:
        self.version += 1
        self.digests = {key_of(sink): digest_of(route.filters) for sink, route in self._routes.items()}
        self.matchers = {key_of(sink): route.matches for sink, route in self._routes.items()}

    def keys(self, wanted: Mapping[str, int]) -> dict[int, int]:
        """Return the counts by key, of sinks that want something."""
        return {key_of(sink): count for sink, count in wanted.items() if count and sink in self._routes}

    def recount(self, append: Append) -> None:
        """Count anew a delivery that was routed before sinks came or went."""
        if append.routing == self.version or append.only:
            return
        topics = [message.topic for message in append.delivery.messages]
        counts = {key: sum(map(matches, topics)) for key, matches in self.matchers.items()}
        append.wanted = {key: count for key, count in counts.items() if count}
        append.routing = self.version

    def rejected(self, append: Append) -> Mapping[str, Callable[[str], bool]]:
        """Return the filters of each sink that wants something of a delivery, by name."""
        return {sink: route.matches for sink, route in self._routes.items() if append.wanted.get(key_of(sink))}
