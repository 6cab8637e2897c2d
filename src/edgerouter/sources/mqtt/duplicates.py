"""Duplicate filter: passes over publishes that are stored already, and retained ones as the policy says."""

from __future__ import annotations

from typing import Final, Literal

from edgerouter.message import Message
from edgerouter.sources.mqtt.in_flight import PUBACK, PUBREC, Batch, InFlight
from edgerouter.sources.mqtt.redelivery import Redelivery
from edgerouter.sources.mqtt.state import digest_of

_TOPICS: Final = 10_000
"""Topics whose last content is known; beyond it the one longest unchanged is forgotten."""


class RetainedPolicy:
    """Decides about messages that a broker replays because they are retained.

    Args:
        policy: `once` replays nothing whose content was the last stored for its topic.
        digests: of an earlier run: digest of the last content by digest of the topic, since topics may be long.
    """

    def __init__(self, policy: Literal["keep", "drop", "once"], digests: dict[str, str]) -> None:
        self.digests = digests
        self.changed = False
        self._policy = policy

    def wants(self, message: Message) -> bool:
        """Return true if a replayed message is to be stored."""
        if self._policy == "once":
            return self.digests.get(digest_of(message.topic.encode())) != digest_of(message.payload)
        return self._policy == "keep"

    def stored(self, batch: Batch) -> None:
        """Remember what is safe now."""
        if self._policy != "once":
            return
        digests = self.digests
        for message in batch.messages:
            topic = digest_of(message.topic.encode())
            digests.pop(topic, None)
            digests[topic] = digest_of(message.payload)
        while len(digests) > _TOPICS:
            del digests[next(iter(digests))]
        self.changed = True


class DuplicateFilter:
    """Recognises publishes that were received before.

    Args:
        in_flight: where messages go.
        redelivery: recognises what the broker sends again.
        retained: decides about what it replays.
    """

    def __init__(self, in_flight: InFlight, redelivery: Redelivery, retained: RetainedPolicy) -> None:
        self._in_flight = in_flight
        self._redelivery = redelivery
        self._retained = retained

    @property
    def watching(self) -> bool:
        """Every publish of QoS 1 and 2 is of interest just now, not only those that are marked."""
        return self._redelivery.watching

    def wants(self, message: Message, identifier: bytes, *, again: bool) -> bool:
        """Return true if the message is to be stored; if not, its acknowledgement is taken care of."""
        qos = message.qos
        ack = (PUBACK if qos == 1 else PUBREC) + identifier
        if qos and self._redelivery.is_known(message, ack, again=again):
            return False
        if not message.retained or self._retained.wants(message):
            return True
        if qos:
            self._in_flight.pass_over(ack)
        return False

    def receipt(self, batch: Batch) -> bytes:
        """Make what the spool keeps beside a batch, so that its messages are recognised after a crash."""
        return self._redelivery.receipt(batch)

    def settled(self, batch: Batch, acks: bytes) -> None:
        """Note that a batch is safe, and the answers that are sent for it."""
        self._redelivery.settled(batch, acks)
        self._retained.stored(batch)
