"""Duplicate filter: skips publishes that are stored already, and retained ones according to the policy."""

from __future__ import annotations

from typing import Final

from edgerouter.message import Message
from edgerouter.sources.mqtt.config import RetainedHandling
from edgerouter.sources.mqtt.in_flight import PUBACK, PUBREC, Batch, InFlight
from edgerouter.sources.mqtt.redelivery import Redelivery
from edgerouter.sources.mqtt.state import digest_of

_TOPICS: Final = 10_000
"""Most topics whose last content is known; beyond it the topic unchanged for longest is forgotten."""


class RetainedPolicy:
    """Decides which retained messages replayed by a broker are stored.

    Args:
        policy: `once` skips a message whose content was the last stored for its topic.
        digests: of an earlier run: digest of the last content by digest of the topic, because topics may be long.
    """

    def __init__(self, policy: RetainedHandling, digests: dict[str, str]) -> None:
        self.digests = digests
        self.changed = False
        self._policy = policy

    def wants(self, message: Message) -> bool:
        """Return True if a replayed message must be stored."""
        if self._policy == "once":
            return self.digests.get(digest_of(message.topic.encode())) != digest_of(message.payload)
        return self._policy != "drop"

    def stored(self, batch: Batch) -> None:
        """Remember the content of a stored batch."""
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
        in_flight: destination of messages.
        redelivery: recognises messages that the broker resends.
        retained: decides about retained messages.
    """

    def __init__(self, in_flight: InFlight, redelivery: Redelivery, retained: RetainedPolicy) -> None:
        self._in_flight = in_flight
        self._redelivery = redelivery
        self._retained = retained

    @property
    def watching(self) -> bool:
        """True while every publish of QoS 1 and 2 must be checked, not only marked ones."""
        return self._redelivery.watching

    def wants(self, message: Message, identifier: bytes, *, again: bool) -> bool:
        """Return True if the message must be stored; otherwise its acknowledgement is arranged."""
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
        """Build the receipt that the spool stores with a batch, so that its messages are recognised after a crash."""
        return self._redelivery.receipt(batch)

    def settled(self, batch: Batch, acks: bytes) -> None:
        """Record that a batch is stored, and the answers sent for it."""
        self._redelivery.settled(batch, acks)
        self._retained.stored(batch)
