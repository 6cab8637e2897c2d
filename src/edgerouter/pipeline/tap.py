"""Places on the walk where a tap looks at lists of messages; without one they cost a check for each list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
import structlog

from edgerouter.message import Message

log = structlog.get_logger("edgerouter.tap")

Stored = Callable[[Message], Iterable[Message]]
"""Returns the stored messages that a message stands for."""
Look = Callable[[Sequence[Message], Stored], None]
"""Looks at a list of messages that it must not keep or change; takes little time whatever the list holds."""


def itself(message: Message) -> Iterable[Message]:
    """Return the message: it is as it is stored."""
    return (message,)


class TapPoint:
    """One place. The walk calls `show` for a list of messages only while `looks` is not empty."""

    __slots__ = ("looks",)

    def __init__(self) -> None:
        self.looks: tuple[Look, ...] = ()

    def show(self, messages: Sequence[Message], stored: Stored = itself) -> None:
        """Let all taps look; one that fails is removed, because a tap must not hold up the walk."""
        for look in self.looks:
            try:
                look(messages, stored)
            except Exception:
                self._remove(look)
                log.exception("a tap failed and is closed")

    @contextmanager
    def tapped(self, look: Look) -> Iterator[None]:
        """Call `look` with each list until left."""
        self.looks = (*self.looks, look)
        try:
            yield
        finally:
            self._remove(look)

    def _remove(self, look: Look) -> None:
        self.looks = tuple([each for each in self.looks if each != look])


class SinkTaps(msgspec.Struct, frozen=True):
    """Places of one sink."""

    before: TapPoint = msgspec.field(default_factory=TapPoint)
    """Messages as they are stored, when the sink reads them."""
    after: TapPoint = msgspec.field(default_factory=TapPoint)
    """Messages as the steps leave them, when a batch is about to be written."""


class Taps:
    """Places of one router; those of a sink stay when a changed configuration replaces the sink."""

    def __init__(self) -> None:
        self.intake = TapPoint()
        """Messages of all sources, once they are stored."""
        self.masking = asyncio.Lock()
        """Held while messages are masked in a thread: several at once would leave little time to the event loop."""
        self._sinks: dict[str, SinkTaps] = {}

    @property
    def open(self) -> int:
        """Number of taps at all places."""
        points = [self.intake, *(point for taps in self._sinks.values() for point in (taps.before, taps.after))]
        return sum(len(point.looks) for point in points)

    def sink(self, name: str) -> SinkTaps:
        """Return the places of a sink."""
        return self._sinks.setdefault(name, SinkTaps())
