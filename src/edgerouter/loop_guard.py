"""Stops message loops: a sink does not publish a message that would come back, or has come back.

Three signs, each used where available: the message came from the same broker and topic that it would be published to; it carries
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
"""Time for which a published message is expected back."""
_MOST_EXPECTED: Final = 50_000
"""Most messages expected back per sink; beyond it the oldest is forgotten."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Subscription(NamedTuple):
    """Topics that a source of this router receives from a broker."""

    broker: str
    """Key made by `broker_key`."""
    matches: Callable[[str], bool]


def broker_key(address: BrokerAddress) -> str:
    """Return the identity of a broker: two addresses with the same key are the same broker."""
    host = address.host.lower()
    return f"{'localhost' if host in _LOOPBACK else host}:{address.port}"


def subscription(address: BrokerAddress, filters: Iterable[str]) -> Subscription:
    """Describe the subscription of a source."""
    return Subscription(broker_key(address), Matcher([split_share(each)[1] for each in filters]))


class LoopGuard:
    """Loop guard of a router, shared by its sources and sinks; runs on one event loop."""

    def __init__(self) -> None:
        self._sources: Mapping[str, Subscription] = {}
        self._sinks: dict[str, SinkGuard] = {}

    def subscribed(self, sources: Mapping[str, Subscription]) -> None:
        """Replace the known sources of the router, by name."""
        self._sources = dict(sources)

    def for_sink(self, name: str, address: BrokerAddress, spool: str) -> SinkGuard:
        """Create the guard of a sink when it opens.

        Args:
            name: name of the sink.
            address: broker that the sink publishes to.
            spool: id of the router's spool.
        """
        guard = self._sinks[name] = SinkGuard(self, broker_key(address), spool)
        return guard

    def broker_of(self, source: str) -> str | None:
        """Return the broker that a source receives from; `None` if it is not an MQTT source, or no longer exists."""
        known = self._sources.get(source)
        return None if known is None else known.broker

    def comes_back(self, broker: str, topic: str) -> bool:
        """Return True if a source of this router receives messages published there."""
        for each in self._sources.values():  # noqa: SIM110  (for each message: a generator costs more than the comparison)
            if each.broker == broker and each.matches(topic):
                return True
        return False

    def expect(self, key: int, *, more: int) -> None:
        """Add to or remove from every sink's expected messages."""
        for guard in self._sinks.values():
            guard.expect(key, more)


class SinkGuard:
    """Decides which messages one sink must not publish."""

    def __init__(self, loops: LoopGuard, broker: str, spool: str) -> None:
        self._loops = loops
        self._broker = broker
        self._own = f"{spool}-"
        self._expected: dict[int, int] = {}
        self._order: deque[tuple[float, int]] = deque()

    def loop(self, message: Message, topic: str) -> str:
        """Return the reason why a message must not be published to a topic; empty if it may be."""
        broker = self._loops.broker_of(message.source) if message.source else None
        came_back = broker is not None and self._came_back(broker, message)
        if broker == self._broker and topic == message.topic:
            return "it came from this broker and topic"
        if message.properties is not None and any(value.startswith(self._own) for _, value in message.properties.user):
            return "it carries the id of this router's spool, so this router has published it"
        return "this router has published it to where it came from" if came_back else ""

    def publishing(self, topic: str, payload: bytes) -> bool:
        """Remember a message that is about to be published; False if no source of this router would receive it."""
        if not self._loops.comes_back(self._broker, topic):
            return False
        self._loops.expect(hash((self._broker, topic, payload)), more=1)
        return True

    def not_published(self, topic: str, payload: bytes) -> None:
        """Stop expecting a message: the broker did not accept it."""
        self._loops.expect(hash((self._broker, topic, payload)), more=-1)

    def expect(self, key: int, more: int) -> None:
        """Expect a message once more, or once less."""
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
