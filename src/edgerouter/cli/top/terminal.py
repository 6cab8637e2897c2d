"""A full-screen terminal: keys without Enter, and the state before restored however the program ends.

Signals only set a flag or end the loop by an exception, so that no handler writes into the middle of a frame:

- SIGINT, SIGTERM, SIGHUP and SIGQUIT raise `Ended`; the terminal is restored on its way out.
- SIGTSTP (Ctrl-Z) restores the terminal and stops the process; SIGCONT takes the screen again.
- SIGWINCH draws anew.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

from edgerouter.cli.top.keys import Keys

_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[0m\x1b[2J\x1b[H"
"""Alternate screen, no cursor, no wrapping of lines: a character that is wider than expected moves nothing."""
_LEAVE: Final = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_SEQUENCE_SECONDS: Final = 0.05
"""Time in which the rest of an escape sequence arrives, over a slow line too."""
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Ended(BaseException):
    """A signal asks for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def usable() -> bool:
    """Return true where the output is a terminal that can place its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


class Terminal:
    """Takes the screen while open."""

    def __init__(self) -> None:
        self._screen = sys.stdout.fileno()
        self._keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._encoding = sys.stdout.encoding or "utf-8"
        self._keys = Keys()
        self._before: list[Any] | None = None
        self._drawn: list[str] = []
        self._size = (0, 0)
        self._ended = False
        self._suspend = False
        self._continued = False
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Take the screen; give it back as it was.

        Raises:
            Ended: a signal asks for the end.
        """
        before = {number: signal.getsignal(number) for number in (*_ENDING, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)}
        wakeup = signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        try:
            for number in _ENDING:
                if before[number] is not signal.SIG_IGN:
                    signal.signal(number, self._end)
            signal.signal(signal.SIGTSTP, self._flag)
            signal.signal(signal.SIGCONT, self._flag)
            signal.signal(signal.SIGWINCH, self._flag)
            self._enter()
            yield
        finally:
            self._ended = True  # a second signal must not interrupt this
            self._leave()
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            columns, lines = os.get_terminal_size(self._screen)
        except OSError:
            columns, lines = 0, 0
        return (columns or 80, lines or 24)

    def wake(self) -> None:
        """End a wait, from any thread."""
        with suppress(OSError):  # full: it is awake anyway; closed: it has ended
            os.write(self._wake_writer, b"\0")

    def wait(self, seconds: float) -> list[str]:
        """Wait for keys, for `wake`, for a signal or for so many seconds; returns the keys."""
        watched = [self._wake_reader] if self._keyboard is None else [self._wake_reader, self._keyboard]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._wake_reader in ready:
            self._drain()
        keys = self._typed() if self._keyboard in ready else []
        if self._suspend:
            self._stop()
        if self._continued:
            self._continued = False
            self._enter()
        return keys

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines, of which each fits the width; only what differs is written."""
        if self._size != self.size:
            self._size, self._drawn = self.size, []
        out = [] if self._drawn else ["\x1b[2J"]
        for row, line in enumerate(lines):
            if row >= len(self._drawn) or self._drawn[row] != line:
                out.append(f"\x1b[{row + 1};1H\x1b[0m{line}\x1b[0m\x1b[K")
        out += [f"\x1b[{row + 1};1H\x1b[0m\x1b[K" for row in range(len(lines), len(self._drawn))]
        self._drawn = list(lines)
        self._write("".join(out))

    def redraw(self) -> None:
        """Write everything anew with the next lines: another program may have written on the screen."""
        self._drawn = []

    def _typed(self) -> list[str]:
        assert self._keyboard is not None
        data = os.read(self._keyboard, 4096)
        if not data:
            self._keyboard = None  # the other end is gone
            return []
        keys = self._keys.feed(data)
        while self._keys.begun:
            if not select.select([self._keyboard], [], [], _SEQUENCE_SECONDS)[0]:
                return keys + self._keys.rest()
            keys += self._keys.feed(os.read(self._keyboard, 4096))
        return keys

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._wake_reader, 4096):
                pass

    def _flag(self, number: int, _frame: FrameType | None) -> None:
        self._suspend |= number == signal.SIGTSTP
        self._continued |= number == signal.SIGCONT

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if not self._ended:
            self._ended = True
            raise Ended(number)

    def _stop(self) -> None:
        self._suspend = False
        self._leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # here the process goes on, once it has got SIGCONT
        signal.signal(signal.SIGTSTP, self._flag)
        self._continued = True

    def _enter(self) -> None:
        if self._keyboard is not None:
            mode = termios.tcgetattr(self._keyboard)
            self._before = self._before or mode
            changed = [*mode[:3], mode[3] & ~(termios.ICANON | termios.ECHO), *mode[4:]]
            termios.tcsetattr(self._keyboard, termios.TCSANOW, changed)
        self._drawn = []
        self._write(_ENTER)

    def _leave(self) -> None:
        with suppress(OSError, termios.error):
            termios.tcflow(self._screen, termios.TCOON)  # Ctrl-S may have stopped the output
        with suppress(OSError):
            self._write(_LEAVE)
        if self._keyboard is not None and self._before is not None:
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._keyboard, termios.TCSAFLUSH, self._before)
        self._before = None

    def _write(self, text: str) -> None:
        data = text.encode(self._encoding, "replace")
        while data:
            data = data[os.write(self._screen, data) :]
