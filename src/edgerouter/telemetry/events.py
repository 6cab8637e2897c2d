"""A bounded record of what happened in the router, for operators."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, NamedTuple

import msgspec

from edgerouter.masking import mask_first

Kind = Literal[
    "started",
    "stopping",
    "sink",
    "source",
    "spool",
    "dropped",
    "dead_lettered",
    "reloaded",
    "refused",
    "change",
    "tap",
]
Level = Literal["info", "warning", "error"]

MOST_EVENTS: Final = 1000
MOST_BYTES: Final = 512 * 1024
MOST_CHARACTERS: Final = 500
"""Longest text of an event; it may quote a service."""
_OVERHEAD: Final = 300
"""Bytes of an event beside its texts."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened."""

    id: int
    """Rises from event to event, over restarts too as long as the clock is not set back."""
    at: float
    """Seconds since 1970-01-01 UTC."""
    kind: Kind
    """Kind of change."""
    level: Level
    """`info`, `warning` or `error`."""
    subject: str
    """Name of the sink or source; empty for the router and its spool."""
    text: str
    """One line for people."""
    state: str = ""
    """State that the subject has changed to."""
    messages: int = 0
    """Number of dropped or dead-lettered messages."""
    by: str = ""
    """Caller that changed something or looks at messages: `token NAME`, or `uid N` of the Unix socket."""


class EventPage(NamedTuple):
    """Some events, oldest first."""

    events: list[Event]
    missed: int
    """Events after the given one that are not held any more."""


class Events:
    """The last events, within bounds of number and bytes."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._next = time.time_ns() // 1_000_000
        self._first = self._next
        self._listeners: set[asyncio.Event] = set()

    def add(
        self, kind: Kind, subject: str, text: str, *, level: Level = "info", state: str = "", messages: int = 0, by: str = ""
    ) -> None:
        """Record an event now; its texts are masked and cut."""
        event = Event(
            id=self._next, at=time.time(), kind=kind, level=level, subject=subject[:MOST_CHARACTERS],
            text=mask_first(text, MOST_CHARACTERS), state=state, messages=messages, by=by[:MOST_CHARACTERS],
        )  # fmt: skip
        self._next += 1
        self._events.append(event)
        self._bytes += _size(event)
        while len(self._events) > MOST_EVENTS or self._bytes > MOST_BYTES:
            self._bytes -= _size(self._events.popleft())
        for listener in self._listeners:
            listener.set()

    @property
    def last(self) -> int:
        """Number of the newest event; below every event while there is none."""
        return self._next - 1

    def after(self, number: int, limit: int = MOST_EVENTS) -> EventPage:
        """Return the oldest events above a number.

        A number that is above all events is one of an earlier run, whose clock was ahead: then all count as new.
        """
        if number > self.last:
            number = self._first - 1
        oldest = self._next - len(self._events)
        missed = max(0, oldest - max(number, self._first - 1) - 1)
        start = max(0, number + 1 - oldest)
        return EventPage([self._events[index] for index in range(start, min(start + limit, len(self._events)))], missed)

    @contextmanager
    def listening(self, flag: asyncio.Event) -> Iterator[None]:
        """Set the flag with every new event."""
        self._listeners.add(flag)
        try:
            yield
        finally:
            self._listeners.discard(flag)


def _size(event: Event) -> int:
    return _OVERHEAD + 2 * (len(event.subject) + len(event.text) + len(event.by))
