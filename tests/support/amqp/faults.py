"""Faults that the Event Hubs server injects on demand, by delivery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto


class Cut(Enum):
    """End of a delivery without an outcome."""

    BEFORE = auto()
    """The connection is dropped before anything is stored."""
    AFTER = auto()
    """The connection is dropped after the events were stored: the sender cannot know."""
    SILENT = auto()
    """The events are stored, but the delivery is never settled."""


@dataclass(frozen=True, slots=True)
class Reject:
    """The delivery is rejected with this error."""

    condition: str
    description: str = "by the fault plan"


@dataclass(frozen=True, slots=True)
class DetachLink:
    """The link is detached with this error; nothing was stored."""

    condition: str
    description: str = "by the fault plan"


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """The connection is closed with this error; nothing was stored."""

    condition: str = "amqp:connection:forced"
    description: str = "by the fault plan"


class Outcome(Enum):
    """Outcomes that are neither accepted nor rejected."""

    RELEASED = auto()
    MODIFIED = auto()


Fault = Cut | Reject | DetachLink | CloseConnection | Outcome

BUSY = "com.microsoft:server-busy"
BUSY_TEXT = "The request was terminated because the entity is being throttled. Error code : 50002. Please wait 4 seconds and retry."


@dataclass(slots=True)
class FaultPlan:
    """Faults of one server; none by default."""

    on_delivery: Callable[[int, bytes], Fault | None] = lambda _number, _payload: None
    """Called with 1, 2, 3 ... and the bytes of each delivery to a hub."""
    on_attach: Reject | None = None
    """Refuse links to a hub with this error."""
    attach_first: bool = False
    """Refuse links only after they were attached."""
    on_token: tuple[int, str] | None = None
    """Answer put-token with this status."""
    seen: list[Fault] = field(default_factory=list)
    """Faults injected so far, in order."""

    def deliveries(self, *faults: Fault | None) -> None:
        """Inject these faults into the next deliveries, then behave normally."""
        rest = list(faults)
        self.on_delivery = lambda _number, _payload: rest.pop(0) if rest else None

    def every(self, interval: int, *faults: Fault) -> None:
        """Inject the next of these faults into each `interval`-th delivery, cyclically."""
        self.on_delivery = lambda number, _payload: faults[number // interval % len(faults)] if number % interval == 0 else None

    def heal(self) -> None:
        """Inject no more faults."""
        self.on_delivery = lambda _number, _payload: None
        self.on_attach = self.on_token = None
        self.attach_first = False
