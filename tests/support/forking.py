"""Processes forked from the zygote of this test run: started in milliseconds, watched like those of asyncio."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path


class Zygote:
    """The process that others are forked from."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="zygote-")
        self.socket = Path(self._folder.name) / "socket"
        self._process = subprocess.Popen(
            # -P: the folders beside it have the names of SDKs
            [sys.executable, "-P", str(Path(__file__).with_name("zygote.py")), str(self.socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def end(self) -> None:
        """End it, and every process that was forked from it."""
        self._process.communicate()
        self._folder.cleanup()


@cache
def zygote() -> Zygote:
    """The zygote of this process of the test run, started at the first call."""
    return Zygote()


def end_zygote() -> None:
    """End the zygote, if it was started."""
    if zygote.cache_info().currsize:
        zygote().end()
        zygote.cache_clear()


class ForkedProcess:
    """A process of the zygote's; what tests use of `asyncio.subprocess.Process`."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.returncode: int | None = None
        """Exit code; negative for a signal, `None` while it runs."""
        self._writer = writer
        self._watch = asyncio.create_task(self._until_ended(reader), name=f"watch {pid}")

    async def _until_ended(self, reader: asyncio.StreamReader) -> int:
        self.returncode = int(await reader.readline())
        self._writer.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process while it runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """`kill -9`."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Return the exit code once the process has ended."""
        return await asyncio.shield(self._watch)


async def fork(
    arguments: Sequence[str], *, environment: Mapping[str, str], log: Path, folder: Path | None = None, terminal: str | None = None
) -> ForkedProcess:
    """Start the command line of edgerouter with these arguments.

    Args:
        arguments: such as `run -c FILE`.
        environment: all of its variables.
        log: file that its output is appended to.
        folder: to work in.
        terminal: path of a terminal for its input and output, instead of the log.
    """
    reader, writer = await asyncio.open_unix_connection((await asyncio.to_thread(zygote)).socket)
    order = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "log": str(log),
        "folder": None if folder is None else str(folder),
        **({} if terminal is None else {"terminal": terminal}),
    }
    writer.write(json.dumps(order).encode() + b"\n")
    return ForkedProcess(int(await reader.readline()), reader, writer)
