"""Keeps messages from circling: a sink does not publish what would only come back, or has come back.

Three signs, each where it can be had: the message came from the very broker and topic that it would be published to; it carries
a user property with this spool's id (MQTT 5); or a source received it from where a sink published the same topic and payload a
moment before (MQTT 3.1.1, which has no properties).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from edgerouter.message import Message
from edgerouter.mqtt.address import BrokerAddress
from edgerouter.topics import Matcher, split_share

ECHO_SECONDS: Final = 60.0
"""A published message is expected back for this long."""
_MOST_EXPECTED: Final = 50_000
"""Most messages expected back, of one sink; beyond it the oldest is given up."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Subscription(NamedTuple):
    """Topics that a source of this router receives from a broker."""

    broker: str
    """As `broker_key` gives it."""
    matches: Callable[[str], bool]


def broker_key(address: BrokerAddress) -> str:
    """Identity of a broker: two addresses that give the same are the same broker."""
    host = address.host.lower()
    return f"{'localhost' if host in _LOOPBACK else host}:{address.port}"


def subscription(address: BrokerAddress, filters: Iterable[str]) -> Subscription:
    """The subscription of a source."""
    return Subscription(broker_key(address), Matcher([split_share(each)[1] for each in filters]))


class LoopGuard:
    """Shared by the sources and sinks of a router; on one event loop."""

    def __init__(self) -> None:
        self._sources: Mapping[str, Subscription] = {}
        self._sinks: dict[str, SinkGuard] = {}

    def subscribed(self, sources: Mapping[str, Subscription]) -> None:
        """The sources of the router, by name; replaces those of before."""
        self._sources = dict(sources)

    def for_sink(self, name: str, address: BrokerAddress, spool: str) -> SinkGuard:
        """The guard of one sink, from its opening on.

        Args:
            name: of the sink.
            address: of the broker that it publishes to.
            spool: id of the router's spool.
        """
        guard = self._sinks[name] = SinkGuard(self, broker_key(address), spool)
        return guard

    def broker_of(self, source: str) -> str | None:
        """The broker that a source receives from; `None` if it is no MQTT source, or not there any more."""
        known = self._sources.get(source)
        return None if known is None else known.broker

    def comes_back(self, broker: str, topic: str) -> bool:
        """A source of this router receives what is published there."""
        return any(each.broker == broker and each.matches(topic) for each in self._sources.values())

    def expect(self, key: int, *, more: int) -> None:
        """Each sink expects a message back, or no longer does."""
        for guard in self._sinks.values():
            guard.expect(key, more)


class SinkGuard:
    """Tells one sink which messages it must not publish."""

    def __init__(self, loops: LoopGuard, broker: str, spool: str) -> None:
        self._loops = loops
        self._broker = broker
        self._own = f"{spool}-"
        self._expected: dict[int, int] = {}
        self._order: deque[tuple[float, int]] = deque()

    def loop(self, message: Message, topic: str) -> str:
        """Say why a message must not be published to a topic; empty when it may be."""
        broker = self._loops.broker_of(message.source) if message.source else None
        came_back = broker is not None and self._came_back(broker, message)
        if broker == self._broker and topic == message.topic:
            return "it came from this broker and topic"
        if message.properties is not None and any(value.startswith(self._own) for _, value in message.properties.user):
            return "it carries the id of this router's spool, so this router has published it"
        return "this router has published it to where it came from" if came_back else ""

    def publishing(self, topic: str, payload: bytes) -> bool:
        """Remember a message that is about to be published; False when no source of ours would receive it."""
        if not self._loops.comes_back(self._broker, topic):
            return False
        self._loops.expect(hash((self._broker, topic, payload)), more=1)
        return True

    def not_published(self, topic: str, payload: bytes) -> None:
        """Expect a message back no longer: the broker did not take it."""
        self._loops.expect(hash((self._broker, topic, payload)), more=-1)

    def expect(self, key: int, more: int) -> None:
        """Expect a message back so many times more."""
        expected, order = self._expected, self._order
        now = time.monotonic()
        while order and (order[0][0] < now or len(order) >= _MOST_EXPECTED):
            _, old = order.popleft()
            self._forget_one(old)
        if more > 0:
            expected[key] = expected.get(key, 0) + 1
            order.append((now + ECHO_SECONDS, key))
        else:
            self._forget_one(key)

    def _came_back(self, broker: str, message: Message) -> bool:
        if not self._expected:
            return False
        return self._forget_one(hash((broker, message.topic, message.payload)))

    def _forget_one(self, key: int) -> bool:
        count = self._expected.get(key, 0)
        if count > 1:
            self._expected[key] = count - 1
        elif count:
            del self._expected[key]
        return count > 0
