"""What the Event Hubs server does wrong on demand: to which deliveries, and what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto


class Cut(Enum):
    """How a delivery ends without an outcome."""

    BEFORE = auto()
    """The connection is cut; nothing was stored."""
    AFTER = auto()
    """The connection is cut after the events were stored: the sender cannot know."""
    SILENT = auto()
    """Stored, and never settled."""


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
    """The faults of one server; nothing by default."""

    on_delivery: Callable[[int, bytes], Fault | None] = lambda _number, _payload: None
    """Called with 1, 2, 3 ... and the bytes of each delivery to a hub."""
    on_attach: Reject | None = None
    """Links to a hub are refused with this error."""
    attach_first: bool = False
    """Links are refused only after they were attached."""
    on_token: tuple[int, str] | None = None
    """Put-token is answered with this status."""
    seen: list[Fault] = field(default_factory=list)
    """What happened, in order."""

    def deliveries(self, *faults: Fault | None) -> None:
        """The next deliveries meet these, then all is well again."""
        rest = list(faults)
        self.on_delivery = lambda _number, _payload: rest.pop(0) if rest else None

    def every(self, interval: int, *faults: Fault) -> None:
        """Each `interval`-th delivery meets the next of these, round and round."""
        self.on_delivery = lambda number, _payload: faults[number // interval % len(faults)] if number % interval == 0 else None

    def heal(self) -> None:
        """No more faults."""
        self.on_delivery = lambda _number, _payload: None
        self.on_attach = self.on_token = None
        self.attach_first = False
