"""A peer at work between a separate broker and a separate destination, until the block exits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.output import Output
from benchmarks.peers.arrived import arrived
from benchmarks.peers.peer import Command, Destination, Peer, Work
from benchmarks.peers.receiver import Receiver, receiving
from benchmarks.subjects import BROKER

from support.load import Plan, load
from support.mosquitto import Mosquitto, free_port
from support.process_meter import Usage, usage

START = 30.0
"""Longest time until a peer delivers its first message, in seconds."""


class Silent(Exception):
    """A peer delivered nothing after its start; with the end of its log."""


class Running:
    """A running peer; created by `running`."""

    def __init__(self, command: Command, port: int, folder: Path, receiver: Receiver | None, *, listens: bool) -> None:
        self.port = port
        """Port to publish to."""
        self.receiver = receiver
        self.output = Output(folder / "out")
        self.start_seconds = 0.0
        """From the start of the process to the first message in the file."""
        self._listens = listens
        self._command = command
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process."""
        with contextlib.ExitStack() as files:
            log = files.enter_context((self._folder / "peer.log").open("ab"))
            path = self._command.standard_output
            self._process = await asyncio.create_subprocess_exec(
                *self._command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log if path is None else files.enter_context(path.open("ab")),
                stderr=log,
                env=os.environ | dict(self._command.environment),
                cwd=self._folder,
            )

    async def first_message(self) -> None:
        """Start the process, publish until a message has passed through, and note the time.

        Raises:
            Silent: none has.
        """
        async with load(Plan(self.port, topics=("sensors/first",), rate=200, payload_bytes=100, client_id="first")) as first:
            if not self._listens:
                # the first message must not have to wait for the load generator
                await first.at_least(1, START)
            began = time.time()
            await self.start()
            try:
                self.start_seconds = await self.output.until(1, START) - began
            except TimeoutError:
                raise Silent(f"nothing arrived within {START:g} s: {self.log()}") from None
            report = await first.stop()
        # messages sent before the subscription never arrive, the others do within this time
        await self.output.ages_until(self.output.lines + report.sent, quiet=0.3, most=START)

    def usage(self) -> Usage:
        """Measure the process."""
        assert self._process is not None
        return usage(self._process.pid)

    def arrived(self) -> Counter[int]:
        """Count the arrivals of each number of the load generator's."""
        return arrived(self._folder / "out")

    async def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the process by a signal."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(how)
        await process.wait()

    def log(self) -> str:
        """Return the end of the peer's log, in one line."""
        return " ".join((self._folder / "peer.log").read_text(errors="replace").split())[-300:]


@contextlib.asynccontextmanager
async def running(peer: Peer, destination: Destination, folder: Path) -> AsyncIterator[Running]:
    """Start a broker, a destination and a peer; yield once a message has passed through.

    Raises:
        Silent: no message passes.
    """
    out = folder / "out"
    out.mkdir(parents=True)
    file = out / "messages.jsonl"
    async with contextlib.AsyncExitStack() as stack:
        port = free_port() if peer.listens else stack.enter_context(Mosquitto(folder / "broker", BROKER)).port
        receiver = await stack.enter_async_context(receiving(free_port(), file)) if destination == "http" else None
        work = Work(port, folder, file, receiver.url if receiver else None)
        subject = Running(peer.command(work), port, folder, receiver, listens=peer.listens)
        stack.push_async_callback(subject.end)
        await subject.first_message()
        yield subject
