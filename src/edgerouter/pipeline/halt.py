"""Halt: ends the waits of a sink or a source that an operator pauses, so that it stops between two writes or two commits."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any


class Halted(Exception):
    """Not an error: unwinds to the place that waits until the operator resumes."""


class Halt:
    """Asks for a stop, and lets the asked one wait until it is lifted.

    A pause must not cancel a write that runs: it would have an unknown outcome, and its messages would be sent twice. So each wait
    that may last, for messages or for the end of a back-off, is entered as `interruptible`; `interrupt` ends these waits alone.
    """

    def __init__(self) -> None:
        self.asked = False
        """Stop at the next wait. True until what was asked has stopped and has been let go on."""
        self.at_rest = asyncio.Event()
        """Set while everything has stopped."""
        self._lifted = asyncio.Event()
        self._lifted.set()
        self._waits: set[Interruptible] = set()

    @property
    def lasts(self) -> bool:
        """True until `lift`."""
        return not self._lifted.is_set()

    def ask(self) -> None:
        """Stop at the next wait; what waits already continues."""
        self.asked = True
        self._lifted.clear()

    def interrupt(self) -> None:
        """End the waits that were entered as `interruptible`."""
        for wait in list(self._waits):
            wait.interrupt()

    def lift(self) -> None:
        """Let everything continue."""
        self._lifted.set()

    async def over(self) -> None:
        """Wait until the halt is lifted; called once nothing runs any more."""
        self.at_rest.set()
        try:
            while self.lasts:
                await self._lifted.wait()
        finally:
            self.at_rest.clear()
        self.asked = False

    async def until_at_rest(self, seconds: float) -> bool:
        """Return True once everything has stopped, False if that takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self.at_rest.wait()
        except TimeoutError:
            return False
        return True

    def interruptible(self) -> Interruptible:
        """Return a context for one wait; it raises `Halted` at its begin or in its middle."""
        return Interruptible(self._waits, self)


class Interruptible:
    """One wait that a halt may end."""

    __slots__ = ("_cancelling", "_halt", "_interrupted", "_task", "_waits")

    def __init__(self, waits: set[Interruptible], halt: Halt) -> None:
        self._waits = waits
        self._halt = halt
        self._interrupted = False
        self._cancelling = 0
        self._task: asyncio.Task[Any] | None = None

    def interrupt(self) -> None:
        """End the wait."""
        if self._task is not None and not self._interrupted:
            self._interrupted = True
            self._task.cancel()

    def __enter__(self) -> None:
        if self._halt.asked:
            raise Halted
        self._task = task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        self._waits.add(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._waits.discard(self)
        # as in asyncio.timeout: a cancellation that came from elsewhere at the same time wins
        if (
            self._interrupted
            and self._task is not None
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise Halted from None
