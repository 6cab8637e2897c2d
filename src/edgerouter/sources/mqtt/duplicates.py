"""Which publishes are taken in: not those that are stored already, and retained ones as the policy says."""

from __future__ import annotations

from typing import Final, Literal

from edgerouter.message import Message
from edgerouter.sources.mqtt.in_flight import PUBACK, PUBREC, Batch, Intake
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
        """Whether to store a replayed message."""
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


class Gate:
    """Asked about each publish that may have been here before."""

    def __init__(self, intake: Intake, redelivery: Redelivery, retained: RetainedPolicy) -> None:
        self._intake = intake
        self._redelivery = redelivery
        self._retained = retained

    @property
    def watching(self) -> bool:
        """Every publish of QoS 1 and 2 is of interest just now, not only those that are marked."""
        return self._redelivery.watching

    def admit(self, message: Message, identifier: bytes, *, again: bool) -> bool:
        """Whether to take the message in; if not, its acknowledgement is taken care of."""
        qos = message.qos
        ack = (PUBACK if qos == 1 else PUBREC) + identifier
        if qos and self._redelivery.is_known(message, ack, again=again):
            return False
        if not message.retained or self._retained.wants(message):
            return True
        if qos:
            self._intake.pass_over(ack)
        return False
