"""A command on a pseudoterminal, with an emulator that reads what the command draws."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pyte

from support.forking import ForkedProcess, fork


class Screen:
    """The screen and keyboard of one command; created by `screen`."""

    def __init__(self, master: int, process: asyncio.subprocess.Process | ForkedProcess, columns: int, lines: int) -> None:
        self._master = master
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.process = process
        self.raw = b""
        """Everything that the command has written."""

    @property
    def rows(self) -> list[str]:
        """The lines as a person sees them."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The whole screen."""
        return "\n".join(self.rows)

    def style(self, text: str) -> pyte.screens.Char:
        """Return the first character of a text on the screen, with its colours."""
        for row, line in enumerate(self._screen.display):
            if text in line:
                return self._screen.buffer[row][line.index(text)]
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Change the size, as a window does."""
        self._screen.resize(lines, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGWINCH)

    @property
    def mode(self) -> tuple[bool, bool]:
        """Return true for a terminal that gathers lines, and true for one that shows what is typed."""
        flags = termios.tcgetattr(self._master)[3]
        return bool(flags & termios.ICANON), bool(flags & termios.ECHO)

    async def until(self, condition: Callable[[str], bool], seconds: float = 20) -> str:
        """Read until the screen meets a condition; return its text."""
        end = time.monotonic() + seconds
        while True:
            self.read()
            if condition(self.text):
                return self.text
            assert time.monotonic() < end, f"the screen shows:\n{self.text}"
            await asyncio.sleep(0.02)

    async def ended(self, seconds: float = 20) -> int:
        """Wait for the end of the command; return its exit code."""
        async with asyncio.timeout(seconds):
            while self.process.returncode is None:
                self.read()
                await asyncio.sleep(0.02)
        self.read()
        return self.process.returncode

    def read(self) -> None:
        """Read what has been written."""
        with suppress(BlockingIOError, OSError):
            while data := os.read(self._master, 65536):
                self.raw += data
                self._stream.feed(data)


@asynccontextmanager
async def screen(
    *arguments: object, columns: int = 80, lines: int = 24, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Screen]:
    """Run `edgerouter` with these arguments on a new terminal, in a session that it controls."""
    with _terminal(columns, lines) as (master, slave):
        log = Path(os.devnull)
        process = await fork([*map(str, arguments)], environment=_variables(environment), log=log, terminal=os.ttyname(slave))
        try:
            yield Screen(master, process, columns, lines)
        finally:
            process.kill()
            await process.wait()


@asynccontextmanager
async def shell(*program: str, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> AsyncIterator[Screen]:
    """Run a shell, by default bash, as a person uses it, on a new terminal."""
    with _terminal(80, 24) as (master, slave):
        process = await asyncio.create_subprocess_exec(
            *("setsid", "--ctty", *(program or ("bash", "--norc", "--noprofile", "-i"))),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=_variables(environment),
            cwd=folder,
        )
        try:
            yield Screen(master, process, 80, 24)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _variables(more: Mapping[str, str] | None) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    return {**variables, "TERM": "xterm-256color", **(more or {})}


@contextmanager
def _terminal(columns: int, lines: int) -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.set_blocking(master, False)
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)
