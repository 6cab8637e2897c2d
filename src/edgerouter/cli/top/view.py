"""State of the screen: the selected sink, the order, the filter, and the questions to the operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from edgerouter.cli.states import STATES, state_of
from edgerouter.cli.top.history import History
from edgerouter.cli.top.looking import Look

Page = Literal["sinks", "details", "help"]

MOST_FILTER: Final = 100
_NEW_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Question:
    """Question that a key answers: pause or resume this sink?"""

    operation: Literal["pause", "resume"]
    sink: str


@dataclass(slots=True)
class View:
    """Everything that the lines on the screen are made from."""

    history: History
    where: str
    """The spool's folder, as it may be shown."""
    page: Page = "sinks"
    selected: str = ""
    """Name of a sink."""
    order: int = 0
    reverse: bool = False
    filter: str = ""
    typing: bool = False
    """The filter is being typed."""
    question: Question | None = None
    frozen: bool = False
    """The screen stays as it is."""
    scroll: int = 0
    said: str = ""
    """Line about the last order."""
    look: Look | None = None
    """The last look with an answer."""
    error: str = ""
    """Reason for the missing answer of the latest look."""
    events: tuple[Mapping[str, Any], ...] = ()

    @property
    def status(self) -> dict[str, Any] | None:
        """Last known status of the router."""
        return None if self.look is None else self.look.status

    def ago(self, at: float) -> float:
        """Return the seconds from a time of the router, since 1970-01-01 UTC, to the last look."""
        return 0.0 if self.status is None else max(0.0, self.status["started_at"] + self.status["uptime_seconds"] - at)

    @property
    def restarted(self) -> bool:
        """The router was started anew a short time ago."""
        return self.history.restarted and self.status is not None and self.status["uptime_seconds"] < _NEW_SECONDS

    def state(self, name: str) -> str:
        """Return the state of a sink, a key of `STATES`."""
        assert self.status is not None, "there is a sink"
        return state_of(self.status["sinks"][name], self.status["uptime_seconds"])

    @property
    def sinks(self) -> list[str]:
        """Names of the sinks that the filter leaves, in their order."""
        if self.status is None:
            return []
        sinks = self.status["sinks"]
        wanted = self.filter.lower()
        names = [name for name in sinks if wanted in f"{name} {sinks[name]['type']} {STATES[self.state(name)].short}".lower()]
        title, key = ORDERS[self.order]
        if title != "configuration":
            names.sort(key=lambda name: (key(self, name), name))
        return names[::-1] if self.reverse else names

    def move(self, steps: int) -> None:
        """Select another sink, so many further down."""
        names = self.sinks
        if names:
            at = names.index(self.selected) if self.selected in names else 0
            self.selected = names[max(0, min(len(names) - 1, at + steps))]


def _number(field: str) -> Callable[[View, str], float]:
    def key(view: View, name: str) -> float:
        assert view.status is not None, "there is a sink"
        return -float(view.status["sinks"][name][field] or 0)

    return key


ORDERS: Final[tuple[tuple[str, Callable[[View, str], Any]], ...]] = (
    ("configuration", lambda _, name: name),
    ("name", lambda _, name: name),
    ("state", lambda view, name: STATES[view.state(name)].rank),
    ("rate", lambda view, name: -(view.history.rate("sink", name) or 0.0)),
    ("pending", _number("pending")),
    ("oldest", _number("oldest_pending_seconds")),
    ("retries", _number("failed_writes")),
    ("dead", _number("dead_lettered")),
    ("latency", _number("latency_seconds")),
)
"""Orders of the sinks by title; of numbers the largest comes first."""
