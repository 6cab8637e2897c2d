"""An event hub: partitions, each a log of events."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field

from support.amqp.message import AmqpMessage


@dataclass(frozen=True, slots=True)
class Event:
    """One event as a consumer would see it."""

    partition: int
    sequence: int
    partition_key: str | None
    message: AmqpMessage
    batch: int
    """Number of the delivery that carried it."""

    @property
    def body(self) -> bytes:
        """Return the event's data."""
        return b"".join(self.message.data)


@dataclass(slots=True)
class Hub:
    """An event hub."""

    name: str
    partitions: int = 4
    max_message_size: int = 1024 * 1024
    credit: int = 100
    """Number of batches that a producer may send ahead."""
    log: list[list[Event]] = field(default_factory=list)
    created: float = field(default_factory=time.time)
    _next: int = 0

    def __post_init__(self) -> None:
        self.log = [[] for _ in range(self.partitions)]

    @property
    def events(self) -> list[Event]:
        """Return all events, partition by partition, each in its order."""
        return [event for partition in self.log for event in partition]

    def partition_for(self, key: str | None) -> int:
        """Return the partition of a key: equal keys share one; without a key, batches are distributed cyclically."""
        if key is not None:
            return zlib.crc32(key.encode()) % self.partitions
        self._next = (self._next + 1) % self.partitions
        return self._next
