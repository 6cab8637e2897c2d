"""`edgerouter demo`: data flows from simulated devices through broker, spool and two sinks, and in the end all of it is there."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from rich.live import Live

from edgerouter import plugins
from edgerouter.admin.status import RouterStatus
from edgerouter.app import Router
from edgerouter.cli.output import console, shown
from edgerouter.cli.run import run_loop
from edgerouter.demo.devices import Devices, publishing
from edgerouter.demo.signals import CpuTemperature, signals
from edgerouter.demo.stored import compare
from edgerouter.demo.table import line, table
from edgerouter.extras import install_command
from edgerouter.logs.setup import configure
from edgerouter.topics import Matcher

DEVICES = 20
RATE = 100.0
DRAIN_SECONDS = 30.0
"""Time at the end for everything to reach the spool, and again to reach the files."""
SINKS = {"archive": ("sensors/#",), "alerts": ("sensors/+/alert",)}
CONFIG = """\
# The demo's configuration; paths and port are this run's.
sources:
  devices: {{type: mqtt, url: "mqtt://127.0.0.1:{port}", topics: ["sensors/#"], protocol: "3.1.1"}}
spool: {{path: {spool}}}
sinks:
  archive: {{type: file, path: {archive}, topics: ["sensors/#"]}}
  alerts: {{type: file, path: {alerts}, topics: ["sensors/+/alert"]}}
log: {{level: error}}
"""


def demo(seconds: float | None, rate: float | None) -> int:
    """Run the demo for so many seconds, or until SIGINT or SIGTERM; returns the exit code: 0 only when nothing is missing."""
    try:
        from edgerouter.demo.broker import broker  # noqa: PLC0415  (amqtt is an extra)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] == "edgerouter":
            raise
        sys.stderr.write(f"the demo needs a broker, and {missing.name} is not installed: {install_command('demo')}\n")
        return 2
    codes: list[int] = []

    async def run() -> None:
        async with broker() as port:
            codes.append(await _Demo(port, rate or RATE, seconds).run())

    run_loop(run())
    return codes[0]


class _Demo:
    """One run."""

    def __init__(self, port: int, rate: float, seconds: float | None) -> None:
        self._seconds = seconds
        self._console = console()
        self._folder = Path(tempfile.mkdtemp(prefix="edgerouter-demo-"))
        file = self._folder / "edgerouter.yaml"
        # JSON strings are YAML strings, whatever the path holds
        paths = {name: json.dumps(str(self._folder / name)) for name in ("spool", *SINKS)}
        file.write_text(CONFIG.format(port=port, **paths))
        config = plugins.load(file, {})
        configure(config.log)
        self._router = Router(config)
        devices = signals(DEVICES)
        self._cpu = next(signal for _, signal in devices if isinstance(signal, CpuTemperature))
        self._devices = Devices(port, devices, rate)
        self._started = time.monotonic()
        self._before = (self._started, 0)
        self._rate = 0.0

    async def run(self) -> int:
        """Let it flow, drain, compare; returns the exit code."""
        interrupted = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted.set)
        self._introduce()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            router = tasks.create_task(self._router.run(stop), name="router")
            await self._router.running.wait()
            await self._until(lambda status: all(source.connected for source in status.sources.values()))
            async with publishing(self._devices):
                await self._show(interrupted)
            await self._until(self._all_delivered)
            stop.set()
            await router
        return self._conclude()

    def _introduce(self) -> None:
        until = f"for {self._seconds:g} s" if self._seconds else "until Ctrl-C"
        cpu = "simulated, as this machine does not show its own" if self._cpu.simulated else "real"
        self._say(f"{DEVICES} devices publish {until}; the CPU temperature is {cpu}. Everything is in {self._folder}")

    async def _show(self, interrupted: asyncio.Event) -> None:
        """Show the numbers until it is over."""
        ends = self._started + self._seconds if self._seconds else None
        terminal = self._console.is_terminal
        interval = 0.25 if terminal else 1.0
        with Live(console=self._console, auto_refresh=False) if terminal else nullcontext() as live:
            while not interrupted.is_set() and (ends is None or time.monotonic() < ends):
                left = interval if ends is None else min(interval, max(0.0, ends - time.monotonic()))
                try:
                    async with asyncio.timeout(left):
                        await interrupted.wait()
                except TimeoutError:
                    pass
                now, status, sent = time.monotonic(), self._router.status(), self._devices.sent.total()
                self._measure_rate(now, status)
                if live is not None:
                    live.update(table(status, sent, self._rate, now - self._started), refresh=True)
                else:
                    self._say(line(status, sent, self._rate, now - self._started))

    def _measure_rate(self, now: float, status: RouterStatus) -> None:
        """Messages a second into the spool, over about a second."""
        at, count = self._before
        if now - at >= 1:
            stored = status.spool.last_sequence
            self._rate = (stored - count) / (now - at)
            self._before = (now, stored)

    def _all_delivered(self, status: RouterStatus) -> bool:
        taken = sum(source.messages for source in status.sources.values())
        return taken >= self._devices.sent.total() and not any(sink.pending for sink in status.sinks.values())

    async def _until(self, condition: Callable[[RouterStatus], bool]) -> None:
        """Wait for the router's numbers, but not for ever: the end reports what is missing."""
        ends = time.monotonic() + DRAIN_SECONDS
        while not condition(self._router.status()) and time.monotonic() < ends:  # noqa: ASYNC110  (the router's status has no event)
            await asyncio.sleep(0.02)

    def _conclude(self) -> int:
        """Say where the data lies and whether it is all there."""
        complete = True
        for name, filters in SINKS.items():
            matches = Matcher(filters)
            folder = self._folder / name
            result = compare(folder, {topic: count for topic, count in self._devices.sent.items() if matches(topic)})
            complete &= not result.missing
            verdict = "sent = stored" if not result.missing else f"{result.missing} MISSING"
            extra = f", {result.duplicates} of them twice" if result.duplicates else ""
            self._say(f"{name}: {result.sent} sent, {result.stored} stored{extra}: {verdict}. {folder}")
        self._say(f"The configuration of this run: {self._folder / 'edgerouter.yaml'}")
        return 0 if complete else 1

    def _say(self, text: str) -> None:
        self._console.print(shown(text), soft_wrap=True)
