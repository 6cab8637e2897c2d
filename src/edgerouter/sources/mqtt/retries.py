"""Finds messages that wait for their answer on the present connection, for brokers that send them again meanwhile.

MQTT 3.1.1 allows that, and EMQX does it every 30 s by default: with a full spool each round would be stored as new messages.
"""

from __future__ import annotations

from typing import Final

from edgerouter.message import Message
from edgerouter.sources.mqtt.in_flight import Batch, InFlight

_ACK: Final = 4


class Index:
    """Messages of a batch by their answers, extended as the batch grows.

    Args:
        batch: may grow.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._known: dict[bytes, Message] = {}
        self._at = self._place = self._skipped = 0
        """Offset in its answers, place in its messages, and number of unstored ones, up to which it is indexed."""

    def find(self, ack: bytes) -> Message | None:
        """Return the message that is to get this answer."""
        self._extend()
        return self._known.get(ack)

    def _extend(self) -> None:
        acks, messages, unstored = self._batch.acks, self._batch.messages, self._batch.unstored
        while self._at < len(acks):
            if self._skipped < len(unstored) and unstored[self._skipped] == self._at:
                self._skipped += 1
            else:
                while not messages[self._place].qos:
                    self._place += 1
                self._known[bytes(acks[self._at : self._at + _ACK])] = messages[self._place]
                self._place += 1
            self._at += _ACK


class Retries:
    """Looks through the batches of the present connection; costs nothing until a broker sends a message again.

    Args:
        in_flight: messages that are not acknowledged.
    """

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._indexes: dict[Batch, Index] = {}

    def find(self, ack: bytes) -> Message | None:
        """Return the message that waits for this answer on the present connection, if there is one."""
        in_flight, former = self._in_flight, self._indexes
        number = in_flight.connection
        # the present batch counts its messages once a read is parsed; one of a former connection may have come again on this one
        batches = [each for each in (*in_flight.open, in_flight.current) if number in (each.connection, each.again[0])]
        self._indexes = {batch: former.get(batch) or Index(batch) for batch in batches}
        return next((found for index in self._indexes.values() if (found := index.find(ack)) is not None), None)
